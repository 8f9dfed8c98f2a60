"""Applies successive halving (halving.py): which trials continue at a rung, and which are stopped.

Its state is that of the ledger's epochs, read at the start and then updated one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scaling_lab.stats.fronts import Fronts, OrderedFronts, Point, crowding_distances
from scaling_lab.study.study import Study


class Judge:
    """Judges the trials of a study; without Study.stopping all continue. `values` maps metrics to objectives."""

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
        """Record a result and return whether it belongs to a rung.

        One without a value of an objective does not; its trial will fail at the end.
        """
        if epoch not in self._rungs:
            return False
        values = self._values(trial, metrics)
        if any(value is None or not math.isfinite(value) for value in values):
            return False
        self._rungs[epoch].note(trial, [sign * value for sign, value in zip(self._signs, values, strict=True)])
        return True

    def goes_on(self, trial: int, epoch: int) -> bool:
        """Return whether a trial continues after its result at a rung."""
        return self._rungs[epoch].goes_on(trial)


class Rung:
    """The results at one rung, a point for each trial. All objectives are minimised."""

    def __init__(self, factor: int) -> None:
        self._factor = factor
        self._points: dict[int, Point] = {}
        self._fronts = Fronts()

    def note(self, trial: int, point: Sequence[float]) -> None:
        """Add or replace a trial's result."""
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
        """Return the index of the front of a trial's result."""
        return self._fronts.find(self._points[trial])

    def goes_on(self, trial: int) -> bool:
        """Return whether a trial's result is among the best 1/factor."""
        count, front = len(self._points), self.front(trial)
        if count < self._factor or front == 0:
            return True
        before, most = self._fronts.before(front), count // self._factor
        return before < most and before + self._lonelier(trial, front) < most

    def _lonelier(self, trial: int, front: int) -> int:
        """Count the members of a trial's front that rank before it."""
        points = self._fronts[front]
        crowding = crowding_distances(points)
        return int((crowding > crowding[(points == self._points[trial]).all(axis=1)][0]).sum())
