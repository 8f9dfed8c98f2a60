"""The fronts of points that come one by one, of which smaller is better in every objective. They judge nothing.

Front 0 are the points that none dominates, front 1 those that only front 0 dominates, and so on. A newcomer's front is
found by bisection, for where a front has no better point, no later one has; whom it dominates there moves to the next
front, where they may dominate others (Li et al. 2017, efficient non-domination level update).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, ...]
Points = NDArray[np.float64]


class Fronts:
    """The fronts of points of any number of objectives; equal points are of one front."""

    def __init__(self) -> None:
        self._fronts: list[Any] = []

    def add(self, point: Point) -> None:
        """Add a point."""
        place, moved = self.find(point), self._alone(point)
        while len(moved):
            if place == len(self._fronts):
                self._fronts.append(moved)
                return
            beaten = self._exchange(place, moved)
            if len(self._fronts[place]) == len(moved):  # all of this front were beaten, so all that follow move by one
                self._fronts.insert(place + 1, beaten)
                return
            place, moved = place + 1, beaten

    def find(self, point: Point) -> int:
        """Give the front of a point, or the one that it would be of."""
        return bisect_left(self._fronts, True, key=lambda front: not self._beats(front, point))

    def before(self, place: int) -> int:
        """Count the points of the fronts before one."""
        return sum(map(len, self._fronts[:place]))

    def __getitem__(self, place: int) -> Points:
        return np.asarray(self._fronts[place])

    def _alone(self, point: Point) -> Any:
        """Give a front of one point."""
        return np.array([point])

    def _beats(self, front: Any, point: Point) -> bool:
        """Say whether one of a front's points dominates a point."""
        return bool(dominates(front, np.array(point)).any())

    def _exchange(self, place: int, moved: Any) -> Any:
        """Put points into a front, and give those that they dominate there, which leave it."""
        front = self._fronts[place]
        is_beaten = _dominated(front, by=moved)
        self._fronts[place] = np.concatenate([front[~is_beaten], moved])
        return front[is_beaten]


class OrderedFronts(Fronts):
    """The same for one or two objectives, without a loop over points.

    A front is in ascending order of the first objective, so in descending order of the second: whom a point dominates
    stand side by side, and so do all who move to the next front (Yakupov & Buzdalov 2015).
    """

    def _alone(self, point: Point) -> list[Point]:
        return [point]

    def _beats(self, front: list[Point], point: Point) -> bool:
        # Of those that are as good in the first objective, the last is the best in the second.
        last = bisect_right(front, point) - 1
        return last >= 0 and front[last] != point and front[last][-1] <= point[-1]

    def _exchange(self, place: int, moved: list[Point]) -> list[Point]:
        front = self._fronts[place]
        start = bisect_right(front, moved[0])
        end = bisect_right(front, -moved[-1][-1], lo=start, key=lambda point: -point[-1])
        beaten: list[Point] = front[start:end]
        front[start:end] = moved
        return beaten


def dominates(points: Points, point: Points) -> NDArray[np.bool_]:
    """Say of each of the points whether it is as good as the point in every objective and better in one."""
    return np.asarray((points <= point).all(axis=1) & (points < point).any(axis=1))


def _dominated(points: Points, *, by: Points) -> NDArray[np.bool_]:
    """Say of each of the points whether one of the others is as good in every objective and better in one."""
    as_good = np.asarray((by <= points[:, None]).all(axis=2))
    better = np.asarray((by < points[:, None]).any(axis=2))
    return np.asarray((as_good & better).any(axis=1))


def first_front(points: Points) -> list[int]:
    """Give the places of the points that none dominates. In lexical order nothing dominates what comes before it."""
    found: list[int] = []
    for place in np.lexsort(points.T[::-1]).tolist():
        if not dominates(points[found], points[place]).any():
            found.append(place)
    return sorted(found)
