"""Pareto fronts: of a set of points, and of points that come one by one. All objectives are minimised unless said otherwise.

Front 0 holds the points that none dominates, front 1 those that only front 0 dominates, and so on. An incremental front is
found by bisection: where a front has no better point, no later one has. The points that a newcomer dominates there move to the
next front, where they may dominate others (Li et al. 2017, efficient non-domination level update).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, ...]
Points = NDArray[np.float64]
Marks = NDArray[np.bool_]

# --- a set of points -------------------------------------------------------------------------------------------------


def dominates(points: Points, point: Points) -> Marks:
    """Mark which points (N, M) dominate one point (M,): as good in every objective and better in one."""
    return np.asarray((points <= point).all(axis=1) & (points < point).any(axis=1))


def first_front(points: Points) -> list[int]:
    """Give the places of the points (N, M) that none dominates; equal points are all among them."""
    found: list[int] = []
    for place in np.lexsort(points.T[::-1]).tolist():  # nothing dominates a point that comes before it in lexical order
        if not dominates(points[found], points[place]).any():
            found.append(place)
    return sorted(found)


def front_of(points: Sequence[Sequence[float]]) -> list[list[float]]:
    """Give the points that none dominates, each once, in their order."""
    different = [list(point) for point in dict.fromkeys(map(tuple, points))]
    return [different[place] for place in first_front(np.array(different).reshape(len(different), -1))]


def on_front(costs: Sequence[float], values_BA: NDArray[Any]) -> Marks:
    """Mark (B, A) the front of low costs (A,) and high values, for each row of values (B, A).

    Equal points are all marked. A point with nan is never on the front.
    """
    costs_A, heights_BA = np.asarray(costs, dtype=float), np.where(np.isnan(values_BA), -math.inf, values_BA)
    if not len(costs_A):
        return np.zeros(values_BA.shape, dtype=bool)
    order = np.argsort(costs_A, kind="stable")
    _, starts, places = np.unique(costs_A[order], return_index=True, return_inverse=True)
    groups_A = np.empty(len(order), dtype=int)
    groups_A[order] = places
    best_BG = np.maximum.reduceat(heights_BA[:, order], starts, axis=1)
    cheaper_BG = np.maximum.accumulate(np.insert(best_BG[:, :-1], 0, -math.inf, axis=1), axis=1)
    marks = (heights_BA > cheaper_BG[:, groups_A]) & (heights_BA == best_BG[:, groups_A])
    return np.asarray(marks & ~np.isnan(costs_A))


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> list[bool]:
    """Mark the points on the front of low costs and high values; equal points all are, a point with nan never is."""
    marks: list[bool] = on_front(costs, np.asarray(values, dtype=float)[None])[0].tolist()
    return marks


def crowding_distances(front: Points) -> Points:
    """Give how far apart each point's neighbours in its front are, over the objectives' ranges (Deb et al. 2002, NSGA-II).

    The ends of the front have infinity. Equal points count as one.
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


# --- points that come one by one -------------------------------------------------------------------------------------


class Fronts:
    """Incremental fronts of any number of objectives; equal points are of one front."""

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
        as_good = (moved <= front[:, None]).all(axis=2)
        better = (moved < front[:, None]).any(axis=2)
        is_beaten = (as_good & better).any(axis=1)
        self._fronts[place] = np.concatenate([front[~is_beaten], moved])
        return front[is_beaten]


class OrderedFronts(Fronts):
    """The same for one or two objectives, without a loop over points.

    A front is in ascending order of the first objective, so in descending order of the second. The points that a newcomer
    dominates stand side by side, and so do all that move to the next front (Yakupov & Buzdalov 2015).
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
