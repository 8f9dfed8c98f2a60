"""Who goes on at a rung of successive halving, and who is stopped; the rule's words are in halving.py. It stops nothing.

It keeps nothing of its own: what it knows are the ledger's epochs, read at the start and then told one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scaling_lab.stats.fronts import Fronts, OrderedFronts, Point, crowding_distances
from scaling_lab.study.study import Study


class Judge:
    """Judge the trials of a study; without Study.stopping all go on. `values` gives the objectives of a trial's metrics."""

    def __init__(self, study: Study, values: Callable[[int, Mapping[str, Any]], list[Any]]) -> None:
        self._values = values
        # Smaller is better from here on.
        self._signs = [-1.0 if direction == "maximize" else 1.0 for direction in study.objectives.values()]
        rungs = study.stopping.rungs(study.recipe.epochs) if study.stopping else ()
        self._rungs = {epoch: Rung(study.stopping.factor) for epoch in rungs if study.stopping}

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs at which trials are judged."""
        return tuple(self._rungs)

    def note(self, trial: int, epoch: int, metrics: Mapping[str, Any]) -> bool:
        """Note a result; give whether it is one of a rung.

        One that lacks an objective's value is none: its trial will fail at its end for that.
        """
        if epoch not in self._rungs:
            return False
        values = self._values(trial, metrics)
        if any(value is None or not math.isfinite(value) for value in values):
            return False
        self._rungs[epoch].note(trial, [sign * value for sign, value in zip(self._signs, values, strict=True)])
        return True

    def goes_on(self, trial: int, epoch: int) -> bool:
        """Judge a trial by its result at a rung."""
        return self._rungs[epoch].goes_on(trial)


class Rung:
    """The results at one rung: points of which smaller is better in every objective, one for each trial."""

    def __init__(self, factor: int) -> None:
        self._factor = factor
        self._points: dict[int, Point] = {}
        self._fronts = Fronts()

    def note(self, trial: int, point: Sequence[float]) -> None:
        """Add a trial's result, or replace it where it was told before."""
        new, before = tuple(point), self._points.get(trial)
        if new == before:
            return
        self._points[trial] = new
        if before is None and len(self._points) > 1:
            self._fronts.add(new)
            return
        self._fronts = OrderedFronts() if len(new) <= 2 else Fronts()
        for each in self._points.values():
            self._fronts.add(each)

    def front(self, trial: int) -> int:
        """Give the front that a trial's result is of."""
        return self._fronts.find(self._points[trial])

    def goes_on(self, trial: int) -> bool:
        """Say whether a trial's result is among the best 1/factor."""
        count, front = len(self._points), self.front(trial)
        if count < self._factor or front == 0:
            return True
        before, most = self._fronts.before(front), count // self._factor
        return before < most and before + self._lonelier(trial, front) < most

    def _lonelier(self, trial: int, front: int) -> int:
        """Count those of a trial's front that come before it."""
        points = self._fronts[front]
        crowding = crowding_distances(points)
        return int((crowding > crowding[(points == self._points[trial]).all(axis=1)][0]).sum())
