"""Pareto fronts: of a set of points, and incremental. All objectives are minimised unless stated otherwise.

Front 0 is the non-dominated points, front 1 those dominated by front 0 only, and so on. An incremental front is found by
bisection: if a front has no better point, no later front has one. Points that a new point dominates there move to the next
front, where they may dominate others (Li et al. 2017, efficient non-domination level update).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, ...]
Points = NDArray[np.float64]
Marks = NDArray[np.bool_]

# --- a set of points -------------------------------------------------------------------------------------------------


def dominates(points: Points, point: Points) -> Marks:
    """Mark which points (N, M) dominate one point (M,): at least as good in every objective and better in one."""
    return np.asarray((points <= point).all(axis=1) & (points < point).any(axis=1))


def first_front(points: Points) -> list[int]:
    """Return the indices of the non-dominated points (N, M); equal points are all included."""
    found: list[int] = []
    for place in np.lexsort(points.T[::-1]).tolist():  # a point is never dominated by a later one in lexical order
        if not dominates(points[found], points[place]).any():
            found.append(place)
    return sorted(found)


def front_of(points: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return the non-dominated points, each once, in order."""
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
    """Mark the points on the front of low costs and high values; equal points are all marked, a point with nan never is."""
    marks: list[bool] = on_front(costs, np.asarray(values, dtype=float)[None])[0].tolist()
    return marks


def crowding_distances(front: Points) -> Points:
    """Return crowding distances (N,): gaps between each point's neighbours over the ranges (Deb et al. 2002, NSGA-II).

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


def by_front(points: Points) -> Iterator[int]:
    """Yield the indices of points, front by front, each by decreasing crowding distance."""
    left = np.arange(len(points))
    while len(left):
        front = left[first_front(points[left])]
        yield from front[np.argsort(-crowding_distances(points[front]), kind="stable")].tolist()
        left = np.setdiff1d(left, front)


# --- incremental fronts -----------------------------------------------------------------------------------------------


class Fronts:
    """Incremental fronts of any number of objectives; equal points share a front."""

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
            if len(self._fronts[place]) == len(
                moved
            ):  # this whole front was dominated, so all later fronts shift by one
                self._fronts.insert(place + 1, beaten)
                return
            place, moved = place + 1, beaten

    def find(self, point: Point) -> int:
        """Return the index of a point's front, or the one that a new point would join."""
        return bisect_left(self._fronts, True, key=lambda front: not self._beats(front, point))

    def before(self, place: int) -> int:
        """Return the number of points in the fronts before one."""
        return sum(map(len, self._fronts[:place]))

    def __getitem__(self, place: int) -> Points:
        return np.asarray(self._fronts[place])

    def _alone(self, point: Point) -> Any:
        """Return a front of one point."""
        return np.array([point])

    def _beats(self, front: Any, point: Point) -> bool:
        """Return whether one of a front's points dominates a point."""
        return bool(dominates(front, np.array(point)).any())

    def _exchange(self, place: int, moved: Any) -> Any:
        """Insert points into a front; remove and return those that they dominate."""
        front = self._fronts[place]
        as_good = (moved <= front[:, None]).all(axis=2)
        better = (moved < front[:, None]).any(axis=2)
        is_beaten = (as_good & better).any(axis=1)
        self._fronts[place] = np.concatenate([front[~is_beaten], moved])
        return front[is_beaten]


class OrderedFronts(Fronts):
    """Incremental fronts of one or two objectives, without a loop over points.

    A front ascends in the first objective and so descends in the second. The points that a new point dominates are
    consecutive, and so are all that move to the next front (Yakupov & Buzdalov 2015).
    """

    def _alone(self, point: Point) -> list[Point]:
        return [point]

    def _beats(self, front: list[Point], point: Point) -> bool:
        # Among points at least as good in the first objective, the last is best in the second.
        last = bisect_right(front, point) - 1
        return last >= 0 and front[last] != point and front[last][-1] <= point[-1]

    def _exchange(self, place: int, moved: list[Point]) -> list[Point]:
        front = self._fronts[place]
        start = bisect_right(front, moved[0])
        end = bisect_right(front, -moved[-1][-1], lo=start, key=lambda point: -point[-1])
        beaten: list[Point] = front[start:end]
        front[start:end] = moved
        return beaten
