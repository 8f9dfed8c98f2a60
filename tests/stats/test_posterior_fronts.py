"""Fronts under the spread of seeds: exact on small cases, and calibrated on simulations with a known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scaling_lab.stats import estimates, fronts
from scaling_lab.stats.fronts import on_front
from scaling_lab.stats.hypervolume import dominated_volume
from scaling_lab.stats.posterior import drawn_means
from scaling_lab.stats.posterior_fronts import (
    Range,
    best_value,
    front_band,
    front_probability,
    hypervolumes,
)

COSTS = [1.0, 2.0, 2.0, 4.0]


def test_who_is_on_a_front_is_what_the_plain_front_says() -> None:
    draw = np.random.default_rng(0)
    means = draw.integers(0, 6, (200, 4)).astype(float)  # with ties
    for row, marks in zip(means, on_front(COSTS, means), strict=True):
        assert marks.tolist() == fronts.pareto_front(COSTS, row.tolist())


def test_a_clear_front_is_certain_and_a_tie_is_even() -> None:
    groups = [[30.0, 30.1, 29.9], [40.0, 40.1, 39.9], [20.0, 20.1, 19.9], [40.0, 40.1, 39.9]]
    means = drawn_means(groups, pooled=(0.1, 8))
    found = front_probability([1.0, 2.0, 3.0, 4.0], means)
    assert found[:3].tolist() == [1.0, 1.0, 0.0]
    assert found[3] == pytest.approx(0.5, abs=0.05)


def test_without_any_spread_there_is_no_probability() -> None:
    means = drawn_means([[30.0], [40.0]], pooled=(math.nan, 0))
    assert np.isnan(front_probability([1.0, 2.0], means)).all()
    assert math.isnan(Range.of(means[:, 0]).low)


def test_without_any_spread_no_value_is_the_best() -> None:
    found = best_value([1.2, 1.3], drawn_means([[30.0], [40.0]], pooled=(math.nan, 0)))
    assert all(math.isnan(chance) for chance in found.values())


@pytest.mark.slow
def test_draws_cover_the_true_mean_as_often_as_they_say() -> None:
    """Three seeds and their own SD: a plain bootstrap of three would cover 75 %."""
    draw = np.random.default_rng(1)
    covered, runs = 0, 600
    for number in range(runs):
        group = draw.normal(50, 0.7, 3)
        own = (float(np.std(group, ddof=1)), 2)
        interval = Range.of(drawn_means([group.tolist()], pooled=own, draws=500, seed=number)[:, 0])
        covered += interval.low <= 50 <= interval.high
    assert covered / runs == pytest.approx(0.95, abs=0.02)


@pytest.mark.slow
def test_the_probability_of_the_front_is_calibrated() -> None:
    """Truths are drawn too: of those who are given about p, a share of about p is on the true front."""
    draw = np.random.default_rng(2)
    given, true = [], []
    costs = np.geomspace(1, 8, 10).tolist()
    for number in range(250):
        truths = draw.normal(0, 3, 10)
        seeds = truths[:, None] + draw.standard_normal((10, 3))
        sd, degrees = estimates.pooled_sd([list(row) for row in seeds])
        means = drawn_means([list(row) for row in seeds], pooled=(sd, degrees), draws=300, seed=number)
        given += front_probability(costs, means).tolist()
        true += on_front(costs, truths[None, :])[0].tolist()
    probabilities, marks = np.array(given), np.array(true)
    for low, high in ((0.0, 0.1), (0.1, 0.4), (0.4, 0.6), (0.6, 0.9), (0.9, 1.01)):
        some = (probabilities >= low) & (probabilities < high)
        assert some.sum() > 60
        assert marks[some].mean() == pytest.approx(probabilities[some].mean(), abs=0.07)


def test_the_band_is_the_best_that_a_cost_buys() -> None:
    means = np.array([[30.0, 40.0, 20.0, 45.0], [32.0, 38.0, 39.0, 37.0]])
    band = front_band(COSTS, means, [0.5, 1.0, 2.0, 3.0, 9.0])
    assert np.isnan(band[:, 0]).all()
    assert band[1, 1:] == pytest.approx([31.0, 39.5, 39.5, 42.0])
    assert (band[0, 1:] <= band[1, 1:]).all()
    assert (band[1, 1:] <= band[2, 1:]).all()


def test_a_hypervolume_counts_halvings_of_cost() -> None:
    one = np.array([[10.0]])
    assert hypervolumes([0.5], one, reference=(1.0, 0.0)) == pytest.approx([10.0])
    assert hypervolumes([0.25], one, reference=(1.0, 0.0)) == pytest.approx([20.0])
    assert hypervolumes([2.0], one, reference=(1.0, 0.0)) == pytest.approx([0.0])
    assert hypervolumes([0.5], one, reference=(1.0, 20.0)) == pytest.approx([0.0])
    draw = np.random.default_rng(3)
    costs, means = draw.uniform(0.1, 2.0, 8), draw.uniform(0, 50, (50, 8))
    for row, volume in zip(means, hypervolumes(costs.tolist(), means, reference=(1.0, 10.0)), strict=True):
        expected = dominated_volume(np.stack([np.log2(costs), -row], axis=1).tolist(), (0.0, -10.0))
        assert volume == pytest.approx(expected)


def test_the_best_value_is_a_distribution() -> None:
    draw = np.random.default_rng(4)
    means = np.stack([draw.normal(mean, 0.1, 2000) for mean in (30, 31, 31, 40, 38, 41)], axis=1)
    values = [1.2, 1.35, 1.45, 1.2, 1.35, 1.45]  # at two scales
    found = best_value(values, means)
    assert list(found) == [1.2, 1.35, 1.45]
    assert sum(found.values()) == pytest.approx(1.0)
    assert found[1.45] > 0.99
    even = best_value([1.2, 1.3], draw.normal(0, 1, (4000, 2)))
    assert even[1.2] == pytest.approx(0.5, abs=0.03)


def test_the_band_is_the_best_of_what_each_cost_affords() -> None:
    """Against a plain loop, with costs in no order, some of them equal, and a cost below the cheapest."""
    draw = np.random.default_rng(8)
    costs, means_BA = draw.integers(1, 6, 12).astype(float), draw.normal(40, 5, (50, 12))
    grid = [0.5, *sorted(set(costs)), 9.0]
    band_3G = front_band(costs.tolist(), means_BA, grid)
    assert np.isnan(band_3G[:, 0]).all()
    for place, cost in enumerate(grid[1:], start=1):
        best_B = [max(mean for mean, own in zip(row, costs, strict=True) if own <= cost) for row in means_BA]
        assert band_3G[:, place] == pytest.approx(np.quantile(best_B, [0.05, 0.5, 0.95]))
