"""What a search's trials tell about architectures: a Gaussian process fitted to them, and each one's believed value.

A trial's value has seed noise, so the best of many trials was lucky. An architecture's believed value is the posterior
mean of its value without noise.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from scaling_lab.stats.encoding import Costs, Params, encoded
from scaling_lab.stats.fronts import by_front
from scaling_lab.stats.gaussian_process import GaussianProcess

# Fitting more trials takes minutes; the best and the latest are modelled.
MOST_MODELLED = 400
# Parts of the architectures that are predicted together, by a process fitted to the other parts.
PARTS = 10


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A trial as a belief sees it: its architecture's digest and counted costs, its state, and a complete one's value.

    A point that may be trained has the state "new".
    """

    architecture: str
    params: Params
    costs: Costs
    state: str
    value: float = math.nan


class Belief:
    """A process fitted to the values of complete trials, which are maximised; `fresh` are further points to predict.

    `known` lists the digests of the trials' architectures, in the order of every (A,). `start` is an earlier belief.
    `trends` maps trials and points to guesses at their values, (N, K), of which the process adds multiples.
    """

    def __init__(
        self,
        seen: Sequence[Seen],
        *,
        fresh: Sequence[Seen] = (),
        logs: Collection[str] = (),
        start: Belief | None = None,
        trends: Callable[..., Tensor] | None = None,
    ) -> None:
        complete = [each for each in seen if each.state == "complete"]
        self.trained = {each.architecture for each in complete}
        worst = min(each.value for each in complete)
        # Stopped trials were worse than others at the same epoch; their final value is unknown.
        stopped = [each for each in seen if each.state == "stopped" and each.architecture not in self.trained]
        first = {each.architecture: each for each in reversed(seen)}
        self.known = list(first)
        places = {digest: place for place, digest in enumerate(self.known)}
        values = [*(each.value for each in complete), *[worst] * len(stopped)]
        self._values_N = torch.tensor(values, dtype=torch.float64)
        self._places_N = torch.tensor([places[each.architecture] for each in (*complete, *stopped)])
        pending = Counter(each.architecture for each in seen if each.state in ("planned", "running"))
        points = [*first.values(), *fresh]
        points_NE, self._groups_D = encoded([(each.params, each.costs) for each in points], logs=logs)
        if trends is not None:
            points_NE = torch.cat([points_NE, trends(points, logs=logs)], dim=1)
        self._points_AE, self._fresh_ME = points_NE[: len(first)], points_NE[len(first) :]
        groups = int(self._groups_D.max()) + 1
        self.groups: int = groups
        self.process: GaussianProcess = GaussianProcess(
            self._points_AE,
            self._values_N,
            self._places_N,
            self._groups_D,
            pending_A=torch.tensor([pending[digest] for digest in self.known]),
            start=start.process if start is not None and start.groups == groups else None,
        )

    def of_known(self) -> tuple[Tensor, Tensor]:
        """Return the mean and the standard deviation, both (A,), of the known architectures' values without noise."""
        return self.process.known()

    def of_fresh(self) -> tuple[Tensor, Tensor]:
        """Return the same of the further points, both (M,)."""
        return self.process(self._fresh_ME)

    def believed(self) -> dict[str, float]:
        """Return the believed value of every architecture with a complete trial, by digest."""
        means = dict(zip(self.known, self.of_known()[0].tolist(), strict=True))
        return {digest: mean for digest, mean in means.items() if digest in self.trained}

    def predicted(self) -> tuple[Tensor, Tensor]:
        """Return the mean and the standard deviation, both (A,), of a new trial's value, without the architecture's own trials.

        Each tenth of the architectures is predicted by a process fitted to the others. Leave-one-out predictions with settings
        fitted to all values are no fair test: of 60 random values in 12 dimensions they reach a mean tau-b of 0.3.
        """
        mean_A, deviation_A = torch.empty(2, len(self.known), dtype=torch.float64)
        for part in range(min(PARTS, len(self.known))):
            kept_N = self._places_N % PARTS != part
            process = GaussianProcess(self._points_AE, self._values_N[kept_N], self._places_N[kept_N], self._groups_D)
            means_A, deviations_A = process.known()
            mean_A[part::PARTS] = means_A[part::PARTS]
            deviation_A[part::PARTS] = (deviations_A[part::PARTS] ** 2 + process.noise**2).sqrt()
        return mean_A, deviation_A


def modelled(seen: Sequence[Seen], costs: Callable[[Seen], Sequence[float]]) -> list[Seen]:
    """Return at most MOST_MODELLED of ended trials: half of them the best by value and low `costs`, the others the latest."""
    if len(seen) <= MOST_MODELLED:
        return list(seen)
    complete = [place for place, each in enumerate(seen) if each.state == "complete"]
    points = np.array([[-seen[place].value, *costs(seen[place])] for place in complete])
    best = {complete[place] for place in islice(by_front(points), MOST_MODELLED // 2)}
    others = [place for place in range(len(seen)) if place not in best]
    kept = best.union(others[len(best) - MOST_MODELLED :])
    return [each for place, each in enumerate(seen) if place in kept]
