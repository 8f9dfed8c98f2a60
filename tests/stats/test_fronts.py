"""Fronts by their definition, on points with ties and missing values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_lab.stats import fronts


def test_pareto_front_keeps_ties_and_drops_what_is_beaten() -> None:
    costs = [1.0, 1.0, 2.0, 3.0, 3.0, 4.0, math.nan, 0.5]
    values = [10.0, 12.0, 12.0, 15.0, 15.0, 14.0, 99.0, math.nan]
    assert fronts.pareto_front(costs, values) == [False, True, False, True, True, False, False, False]
    assert fronts.pareto_front([], []) == []


def test_pareto_front_by_its_definition() -> None:
    random = np.random.default_rng(3)
    costs, values = random.integers(0, 8, 60).tolist(), random.integers(0, 8, 60).tolist()
    points = list(zip(costs, values, strict=True))
    expected = [not any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points)
                for cost, value in points]  # fmt: skip
    assert fronts.pareto_front(costs, values) == expected


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12))
def test_the_first_front_is_what_nothing_dominates(points: list[tuple[int, int, int]]) -> None:
    array = np.array(points, dtype=float)
    expected = [place for place, point in enumerate(array) if not fronts.dominates(array, point).any()]
    assert fronts.first_front(array) == expected
    assert fronts.front_of(points) == [list(each) for each in dict.fromkeys(points[place] for place in expected)]


def test_the_ends_of_a_front_and_the_lonely_are_crowded_least() -> None:
    found = fronts.crowding_distances(np.array([[1.0, 5.0], [4.8, 1.2], [5.0, 1.0], [2.0, 3.0], [2.0, 3.0]]))
    assert found[[0, 2]].tolist() == [math.inf, math.inf]
    assert found[1] == pytest.approx(3 / 4 + 2 / 4)
    assert found[3] == found[4] == pytest.approx(3.8 / 4 + 3.8 / 4)


@given(st.lists(st.tuples(*[st.integers(0, 4).map(float)] * 2), min_size=1, max_size=15))
def test_fronts_come_one_after_the_other(values: list[tuple[float, float]]) -> None:
    points = np.array(values)
    order = list(fronts.by_front(points))
    assert sorted(order) == list(range(len(values)))
    for place, candidate in enumerate(order):
        assert not fronts.dominates(points[order[place + 1 :]], points[candidate]).any()
