"""Who goes on at a rung of successive halving, and who is stopped; the rule's words are in halving.py. It stops nothing.

It keeps nothing of its own: what it knows are the ledger's epochs, read at the start and then told one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_lab.study.study import Study

Points = NDArray[np.float64]


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
        self._places: dict[int, int] = {}
        self._points: Points = np.empty((0, 0))
        self._fronts = np.empty(0, dtype=np.int64)

    def note(self, trial: int, point: Sequence[float]) -> None:
        """Add a trial's result, or replace it where it was told before."""
        new = np.asarray([point], dtype=np.float64)
        place = self._places.get(trial)
        if place is None:
            self._places[trial] = len(self._places)
            self._add(new)
        elif not np.array_equal(self._points[place], new[0]):
            points = self._points.copy()
            points[place] = new[0]
            self._points, self._fronts = np.empty((0, 0)), np.empty(0, dtype=np.int64)
            for row in range(len(points)):
                self._add(points[row : row + 1])

    def goes_on(self, trial: int) -> bool:
        """Say whether a trial's result is among the best 1/factor."""
        place, count = self._places[trial], len(self._points)
        if count < self._factor or not dominates(self._points, self._points[place]).any():
            return True
        return self._before(place) < count // self._factor

    def _before(self, place: int) -> int:
        """Count the results that come before one."""
        if self._points.shape[1] == 1:
            return int((self._points < self._points[place]).sum())
        own = self._fronts == self._fronts[place]
        crowding = crowding_distances(self._points[own])
        lonelier = crowding > crowding[int(own[:place].sum())]
        return int((self._fronts < self._fronts[place]).sum() + lonelier.sum())

    def _add(self, new: Points) -> None:
        """Add a point, and move those that it dominates to later fronts; with one objective their order is enough.

        Fronts move as in Li et al. 2017 (efficient non-domination level update): a point of front k that is now
        dominated by one of front k goes to k + 1, where it may dominate others.
        """
        if not len(self._points):
            self._points, self._fronts = new, np.zeros(1, dtype=np.int64)
            return
        if new.shape[1] == 1:
            self._points = np.concatenate([self._points, new])
            return
        better = dominates(self._points, new[0])
        front = int(self._fronts[better].max()) + 1 if better.any() else 0
        self._points = np.concatenate([self._points, new])
        self._fronts = np.append(self._fronts, front)
        moved = np.array([len(self._points) - 1])
        while len(moved):
            # Who has moved here is dominated by none who has moved with it.
            here = np.flatnonzero(self._fronts == front)
            moved = here[_dominated(self._points[here], self._points[moved])]
            front += 1
            self._fronts[moved] = front


def dominates(points: Points, point: Points) -> NDArray[np.bool_]:
    """Say of each of the points whether it is as good as the point in every objective and better in one."""
    return np.asarray((points <= point).all(axis=1) & (points < point).any(axis=1))


def _dominated(points: Points, by: Points) -> NDArray[np.bool_]:
    """Say of each of the points whether one of the others dominates it."""
    as_good = np.asarray((by <= points[:, None]).all(axis=2))
    better = np.asarray((by < points[:, None]).any(axis=2))
    return np.asarray((as_good & better).any(axis=1))


def crowding_distances(front: Points) -> Points:
    """Give how far each point's neighbours in its front are apart, over the objectives' ranges; ends have infinity.

    Equal points count as one.
    """
    points, places = np.unique(front, axis=0, return_inverse=True)
    distances = np.zeros(len(points))
    for values in points.T:
        order = np.argsort(values, kind="stable")
        extent = values[order[-1]] - values[order[0]]
        distances[order[[0, -1]]] = np.inf
        if extent > 0:
            distances[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / extent
    return np.asarray(distances[places.reshape(-1)])
