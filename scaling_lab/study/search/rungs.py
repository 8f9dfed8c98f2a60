"""Applies successive halving (halving.py): which trials continue at a rung, and which are stopped.

Its state is that of the ledger's epochs, read at the start and then updated one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

from scaling_lab.stats.fronts import Fronts, OrderedFronts, Point, crowding_distances
from scaling_lab.study.halving import Halving
from scaling_lab.study.search.judge import Judge, Values
from scaling_lab.study.study import Study


class RungJudge(Judge):
    """Judges the trials of a study at the rungs of successive halving."""

    def __init__(self, study: Study, rule: Halving, values: Values) -> None:
        super().__init__(study, values)
        self._rungs = {epoch: Rung(rule.factor) for epoch in rule.epochs(study.recipe)}

    @property
    def epochs(self) -> tuple[int, ...]:
        """The rungs."""
        return tuple(self._rungs)

    def record(self, trial: int, epoch: int, point: list[float]) -> bool:
        """Record a result at a rung."""
        self._rungs[epoch].note(trial, point)
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
