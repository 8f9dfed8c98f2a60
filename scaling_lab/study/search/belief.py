"""What a search's trials tell about architectures: a Gaussian process fitted to them, and each one's believed value.

A trial's value has seed noise, so the best of many trials was lucky. An architecture's believed value is the posterior
mean of its value without noise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from scaling_lab.study.ledger.database import Architecture, TrialRow
from scaling_lab.study.search.encoding import encoded
from scaling_lab.study.search.gaussian_process import GaussianProcess
from scaling_lab.study.search.strategy import Params


class Belief:
    """A process fitted to the values of complete trials, which are maximised; `fresh` are further points to predict.

    `known` lists the digests of the trials' architectures, in the order of every (A,). `start` is an earlier belief.
    `trends` maps points to guesses at their values, (N, K), of which the process adds multiples (trends.py).
    """

    def __init__(
        self,
        rows: Sequence[TrialRow],
        *,
        value: Callable[[TrialRow], float],
        architecture: Callable[[str], Architecture],
        fresh: Sequence[tuple[Params, Architecture]] = (),
        logs: Collection[str] = (),
        start: Belief | None = None,
        trends: Callable[..., Tensor] | None = None,
    ) -> None:
        complete = [row for row in rows if row.state == "complete"]
        self.trained = {row.architecture for row in complete}
        worst = min(map(value, complete))
        # Stopped trials were worse than others at the same epoch; their final value is unknown.
        stopped = [row for row in rows if row.state == "stopped" and row.architecture not in self.trained]
        first = {row.architecture: row.params for row in reversed(rows)}
        self.known = list(first)
        places = {digest: place for place, digest in enumerate(self.known)}
        values_N = torch.tensor([*map(value, complete), *[worst] * len(stopped)], dtype=torch.float64)
        places_N = torch.tensor([places[row.architecture] for row in (*complete, *stopped)])
        pending = Counter(row.architecture for row in rows if row.state in ("planned", "running"))
        points = [*((first[digest], architecture(digest)) for digest in self.known), *fresh]
        points_NE, groups_D = encoded(points, logs=logs)
        if trends is not None:
            points_NE = torch.cat([points_NE, trends(points, logs=logs)], dim=1)
        points_AE, self._fresh_ME = points_NE[: len(first)], points_NE[len(first) :]
        groups = int(groups_D.max()) + 1
        self.groups: int = groups
        self.process: GaussianProcess = GaussianProcess(
            points_AE,
            values_N,
            places_N,
            groups_D,
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
