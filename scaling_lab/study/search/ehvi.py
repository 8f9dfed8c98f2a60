"""Sampler "ehvi": trains what most raises the expected hypervolume of the believed front.

Costs are known before a trial. A Gaussian process models the one trained objective from a point's parameters and its
architecture's costs (stats/belief.py). Optuna's samplers, which learn of costs only after a trial, must model the costs too.

A search may start from other runs' trials: the process adds a multiple of what each promises (trends.py), as far as its own
trials confirm it.

The believed front is that of posterior means. A trial changes its architecture's mean by a normal amount, known in
advance: the less, the noisier the seeds. A new architecture and a further seed of a known one are compared by the growth
of the hypervolume that this change promises (the knowledge gradient, without its effect on other architectures).
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from scaling_lab.metrics import ACCURACIES
from scaling_lab.stats.belief import Belief, Seen, modelled
from scaling_lab.stats.fronts import first_front
from scaling_lab.stats.hypervolume import expected_improvement
from scaling_lab.study.ledger.database import Architecture, TrialRow
from scaling_lab.study.search.candidates import Candidate, Candidates, Params
from scaling_lab.study.search.strategy import END, Desk, Strategy
from scaling_lab.study.search.trends import Trends

# Number of random trials at the start, as in Optuna's samplers.
STARTUP, LEAST_COMPLETE = 10, 3
# The same where other runs give a prior; every second of these is random, so that a misleading prior shows.
WARM_STARTUP = 6
# After this many samples without a new architecture, the space counts as exhausted.
MOST_DRAWS = 20

Values = NDArray[np.float64]
Gain = Callable[..., Values]
_NOTHING = 1e-12  # a standard deviation of almost 0


class Ehvi(Strategy):
    """Chooses the candidate that promises the most growth of the believed front's hypervolume."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        study = desk.study
        self._study, self._architecture = study, desk.architecture
        self._candidates = Candidates(study.space, desk.within_limits, seed=desk.seed)
        self._chance = random.Random(desk.seed)
        (self._measured,) = (name for name in study.objectives if name in ACCURACIES)
        self._counted = [name for name in study.objectives if name not in ACCURACIES]
        self._sign = 1.0 if study.objectives[self._measured] == "maximize" else -1.0
        self._refused: set[str] = set()
        self._belief: Belief | None = None
        self._trends = Trends(desk.sources, sign=self._sign)
        self._startup = WARM_STARTUP if desk.sources else STARTUP

    def refuse(self, digest: str) -> None:
        """Drop an architecture that a limit rejected after it was chosen."""
        self._refused.add(digest)

    def choose(self, rows: Iterable[TrialRow]) -> Params | str:
        """Return the next point to train; END where every architecture had all seeds."""
        rows = [row for row in rows if row.role == "search"]
        usable = self._usable(rows)
        ended = [row for row in usable if row.state in ("complete", "stopped")]
        fresh, again = self._drawn(rows, near=self._near(usable))
        if not fresh and not again:
            return END
        if len(ended) < self._startup or sum(row.state == "complete" for row in ended) < LEAST_COMPLETE:
            return self._first(fresh or again, number=len(usable)).params
        return self._best(fresh, again, usable).params

    def believed(self, rows: Iterable[TrialRow]) -> Mapping[str, float] | None:
        """Return the believed value of trained architectures, by digest; None after too few trials."""
        usable = self._usable([row for row in rows if row.role == "search"])
        if sum(row.state == "complete" for row in usable) < LEAST_COMPLETE:
            return None
        if not any(self._candidates):  # drawing tells which parameters have a log scale
            self._candidates.draw(near=[])
        return {digest: self._sign * value for digest, value in self._fitted(usable).believed().items()}

    def _first(self, candidates: Sequence[Candidate], *, number: int) -> Candidate:
        """Return a candidate before the model: at random, every second time from a front that another run promises."""
        if not self.desk.sources or number % 2:
            return self._chance.choice(candidates)
        trends_MK = self._trends(list(map(_new, candidates)), logs=self._candidates.logs)
        promised_M = trends_MK[:, number // 2 % len(self.desk.sources)].numpy()
        front = first_front(np.column_stack([-promised_M, self._table(each.architecture for each in candidates)]))
        return candidates[self._chance.choice(front)]

    # --- trials and candidates ---

    def _usable(self, rows: Sequence[TrialRow]) -> list[Seen]:
        """Return the trials to model: the running ones, and of the ended ones the best and the latest."""
        seen = [self._seen(row) for row in rows if row.state != "failed"]
        ended = [each for each in seen if each.state == "stopped" or not math.isnan(each.value)]
        running = [each for each in seen if each.state in ("planned", "running")]
        return [*modelled(ended, lambda each: self._objectives(each.costs)), *running]

    def _seen(self, row: TrialRow) -> Seen:
        value = row.metrics.get(self._measured) if row.state == "complete" else None
        return Seen(
            architecture=row.architecture,
            params=row.params,
            costs=self._architecture(row.architecture).costs,
            state=row.state,
            value=math.nan if value is None else self._sign * float(value),
        )

    def _drawn(self, rows: Sequence[TrialRow], *, near: Sequence[Params]) -> tuple[list[Candidate], list[Candidate]]:
        """Return candidates of new architectures, and those of trained ones with an unused seed."""
        had = Counter(row.architecture for row in rows)
        fresh: list[Candidate] = []
        allowed: list[Candidate] = []
        for _ in range(MOST_DRAWS):
            self._candidates.draw(near=near)
            allowed = [each for each in self._candidates if each.architecture.digest not in self._refused]
            fresh = [each for each in allowed if not had[each.architecture.digest]]
            if fresh:
                break
        return fresh, [each for each in allowed if 0 < had[each.architecture.digest] < len(self._study.seeds)]

    def _near(self, usable: Sequence[Seen]) -> list[Params]:
        """Return the points on the last belief's front, near which candidates are drawn."""
        trained = {each.architecture: each for each in usable if each.state == "complete"}
        if self._belief is not None:
            values = self._belief.believed()
            known = [each for digest, each in trained.items() if digest in values]
            points = [[-values[each.architecture], *self._objectives(each.costs)] for each in known]
            if points:
                return [known[place].params for place in first_front(np.array(points))]
        return [each.params for each in trained.values()]

    def _objectives(self, costs: Mapping[str, float]) -> list[float]:
        """Return the known objectives, signed so that smaller is better."""
        signs = {"minimize": 1.0, "maximize": -1.0}
        return [signs[self._study.objectives[name]] * costs[name] for name in self._counted]

    # --- expected growth ---

    def _fitted(self, usable: Sequence[Seen], fresh: Sequence[Candidate] = ()) -> Belief:
        self._belief = Belief(
            usable,
            fresh=list(map(_new, fresh)),
            logs=self._candidates.logs,
            start=self._belief,
            trends=self._trends,
        )
        return self._belief

    def _best(self, fresh: Sequence[Candidate], again: Sequence[Candidate], usable: Sequence[Seen]) -> Candidate:
        """Return the candidate that promises most."""
        belief = self._fitted(usable, fresh)
        noise = belief.process.noise
        mean_A, deviation_A = (each.numpy() for each in belief.of_known())
        costs_AC, costs_MC = (
            self._table(map(self._architecture, belief.known)),
            self._table(x.architecture for x in fresh),
        )
        gain = partial(
            expected_improvement,
            reference=float(mean_A.min()),
            reference_costs_C=np.concatenate([costs_AC, costs_MC]).max(axis=0),
        )
        best, most = None, -np.inf
        if fresh:
            mean_M, deviation_M = (each.numpy() for each in belief.of_fresh())
            gains_M = gain(mean_M, _change(deviation_M, noise), costs_MC, values_N=mean_A, known_costs_NC=costs_AC)
            best, most = fresh[int(gains_M.argmax())], float(gains_M.max())
        further = {each.architecture.digest: each for each in again if each.architecture.digest in belief.trained}
        change_A = _change(deviation_A, noise)
        # A rise's gain alone is an upper bound; only those above the best are worth computing with the loss of a fall.
        bounds_A = gain(mean_A, change_A, costs_AC, values_N=mean_A, known_costs_NC=costs_AC)
        for place in np.argsort(-bounds_A, kind="stable"):
            if bounds_A[place] <= most:
                break
            candidate = further.get(belief.known[place])
            if candidate is not None:
                growth = _growth(place, mean_A, change_A, costs_AC, gain)
                best, most = (candidate, growth) if growth > most else (best, most)
        return best or again[0]

    def _table(self, architectures: Iterable[Architecture]) -> Values:
        costs = [self._objectives(each.costs) for each in architectures]
        return np.array(costs, dtype=float).reshape(len(costs), len(self._counted))


def _new(candidate: Candidate) -> Seen:
    return Seen(
        architecture=candidate.architecture.digest,
        params=candidate.params,
        costs=candidate.architecture.costs,
        state="new",
    )


def _change(deviation_M: Values, noise: float) -> Values:
    """Return the standard deviation (M,) of the change of the posterior means by one trial each."""
    return np.asarray(deviation_M**2 / np.sqrt(deviation_M**2 + noise**2))


def _growth(place: int, mean_A: Values, change_A: Values, costs_AC: Values, gain: Gain) -> float:
    """Return the expected growth of the front's hypervolume where one point's value changes by a normal amount."""
    others_A = np.arange(len(mean_A)) != place
    changed, unchanged = gain(
        mean_A[[place, place]],
        np.array([change_A[place], _NOTHING]),
        costs_AC[[place, place]],
        values_N=mean_A[others_A],
        known_costs_NC=costs_AC[others_A],
    )
    return float(changed - unchanged)
