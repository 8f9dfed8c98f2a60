"""Hypervolumes against counted cells and Optuna's; the expected improvement against the mean over many draws."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume
from scipy.special import ndtri

from scaling_lab.stats import fronts, hypervolume


def test_an_area_is_counted_by_hand() -> None:
    assert hypervolume.dominated_volume([(1.0, -1.0), (2.0, -2.0)], (3.0, 0.0)) == pytest.approx(3.0)
    assert hypervolume.dominated_volume([(1.0, -1.0), (2.0, -2.0), (2.5, -0.5)], (3.0, 0.0)) == pytest.approx(3.0)
    assert hypervolume.dominated_volume([(5.0, -9.0)], (3.0, 0.0)) == 0.0


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=8))
def test_dominated_volume_is_the_cells_below_a_point(points: list[tuple[int, int, int]]) -> None:
    cells = itertools.product(range(5), repeat=3)
    dominated = sum(any(all(p <= c for p, c in zip(point, cell, strict=True)) for point in points) for cell in cells)
    assert hypervolume.dominated_volume(points, (5, 5, 5)) == dominated
    assert hypervolume.dominated_volume(fronts.front_of(points), (5, 5, 5)) == dominated
    assert hypervolume.dominated_volume([point[:1] for point in points], (5,)) == 5 - min(point[0] for point in points)


def test_a_front_has_what_nothing_dominates_once() -> None:
    assert fronts.front_of([(1, 2), (2, 1), (1, 2), (2, 2), (3, 0)]) == [[1, 2], [2, 1], [3, 0]]
    assert hypervolume.dominated_volume([(1, 1)], (1, 2)) == 0.0


def dominated(values: Any, costs: Any, reference: float, reference_costs: Any) -> float:
    """The hypervolume by Optuna, which minimises all."""
    points = np.column_stack([-np.asarray(values), costs])
    inside = (points < [-reference, *reference_costs]).all(1)
    return float(compute_hypervolume(points[inside], np.array([-reference, *reference_costs]))) if inside.any() else 0.0


@settings(max_examples=40)
@given(st.integers(0, 2), st.integers(0, 12), st.integers(0, 10**6))
def test_the_expected_improvement_is_the_mean_over_draws(dimensions: int, known: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    # On a grid, so that equal values and equal costs occur; some lie beyond the reference.
    values = chance.integers(0, 8, known) / 4
    costs = chance.integers(0, 8, (known, dimensions)) / 4
    reference, limits = 0.25, [1.5] * dimensions
    mean, deviation, own = (
        chance.uniform(0, 2, 1),
        chance.uniform(0.05, 1, 1),
        chance.integers(0, 7, (1, dimensions)) / 4,
    )
    expected = hypervolume.expected_improvement(
        mean,
        deviation,
        own,
        values_N=values,
        known_costs_NC=costs,
        reference=reference,
        reference_costs_C=np.array(limits),
    )
    before = dominated(values, costs, reference, limits)
    # The values at the middle of many equal shares of the distribution.
    shares = ndtri((np.arange(400) + 0.5) / 400)
    gains = [
        dominated([*values, value], np.vstack([costs, own]), reference, limits) - before
        for value in mean + deviation * shares
    ]
    assert float(expected[0]) == pytest.approx(np.mean(gains), rel=0.02, abs=0.003)
