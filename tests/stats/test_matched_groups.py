"""Groups at matched cost: chance is what the tests say it is, and planted effects are found."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from scaling_lab.stats import matched_groups

Columns = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]


def differing_in_cost(random: np.random.Generator, first: int, second: int, *, shift: float = 0.0) -> Columns:
    """Give costs (logs), groups and APs: the second group is dearer, AP grows with cost and saturates."""
    costs = np.concatenate([random.beta(2, 4, first), random.beta(4, 2, second)]) * 4
    groups = np.repeat([0, 1], [first, second])
    return costs, groups, 20 * (1 - 2.0**-costs) + random.normal(0, 1, len(costs)) + shift * (groups == 0)


def matched(columns: Columns) -> tuple[np.ndarray[Any, Any], ...]:
    costs, groups, aps = columns
    bins = matched_groups.matched_bins(costs, groups)
    kept = bins >= 0
    return aps[kept], costs[kept], groups[kept] == 0, bins[kept]


@pytest.mark.parametrize(("first", "second"), [(20, 20), (20, 200), (150, 150)])
@pytest.mark.slow
def test_groups_that_differ_in_cost_alone_are_told_apart_as_often_as_chance_has_it(first: int, second: int) -> None:
    random = np.random.default_rng(0)
    found, unmatched = [], 0
    for seed in range(300):
        columns = differing_in_cost(random, first, second)
        kept = matched(columns)
        if len(kept[0]):
            found.append(matched_groups.compare(*kept, permutations=99, seed=seed))
        _, groups, aps = columns
        unmatched += stats.ks_2samp(aps[groups == 0], aps[groups == 1]).pvalue < 0.05
    assert unmatched > 0.7 * 300  # what matching is for
    assert len(found) > 200
    for ps in ([each.p_distance for each in found], [each.p_difference for each in found]):
        assert (
            0.45 < np.mean(ps) < 0.62
        )  # the distance's p is a little too large in small groups, for it takes few values
        assert np.mean(np.array(ps) <= 0.05) < 0.10  # 0.05, and what a curve within the wide bins of small groups adds
        assert np.mean(np.array(ps) <= 0.5) < 0.57
    assert np.mean([each.p <= 0.05 for each in found]) < 0.08
    assert 0.90 < np.mean([each.low <= 0 <= each.high for each in found]) < 0.99


def test_a_difference_at_the_same_cost_is_found() -> None:
    random = np.random.default_rng(1)
    found = [
        matched_groups.compare(*matched(differing_in_cost(random, 60, 60, shift=1.5)), permutations=199)
        for _ in range(60)
    ]
    assert np.mean([each.p < 0.05 for each in found]) > 0.95
    assert np.mean([each.difference for each in found]) == pytest.approx(1.5, abs=0.15)
    assert np.mean([each.low <= 1.5 <= each.high for each in found]) > 0.88


def test_a_difference_in_spread_is_found_by_the_distance() -> None:
    random = np.random.default_rng(2)
    costs, groups, _ = differing_in_cost(random, 150, 150)
    aps = random.normal(0, 1, 300) * np.where(groups == 0, 1, 4)
    found = matched_groups.compare(*matched((costs, groups, aps)))
    assert found.p_distance < 0.01
    assert found.p_difference > 0.05
    assert found.p == pytest.approx(2 * found.p_distance)


def test_without_costs_the_distance_is_kolmogorov_and_smirnovs() -> None:
    random = np.random.default_rng(3)
    aps, first = np.round(random.normal(0, 2, 60)), random.random(60) < 0.4  # with ties
    bins, costs = np.zeros(60, dtype=int), np.ones(60)
    found = matched_groups.compare(aps, costs, first, bins)
    oracle = stats.ks_2samp(aps[first], aps[~first])
    assert found.distance == pytest.approx(oracle.statistic)
    t = stats.ttest_ind(aps[first], aps[~first])
    assert found.difference == pytest.approx(aps[first].mean() - aps[~first].mean())
    interval = t.confidence_interval()
    assert (found.low, found.high) == pytest.approx(
        (interval.low, interval.high), abs=0.02
    )  # one degree is the slope's
    assert found.p_difference == pytest.approx(t.pvalue, abs=0.01)


def test_the_difference_is_that_of_a_linear_model() -> None:
    """One bin: the adjusted difference is the group's coefficient beside log cost, its interval ordinary least squares'."""
    random = np.random.default_rng(6)
    first, costs = np.arange(40) < 15, random.normal(0, 1, 40)
    values = 2 * costs + 0.7 * first + random.normal(0, 1, 40)
    found = matched_groups.compare(values, costs, first, np.zeros(40, dtype=int), permutations=9)
    design = np.column_stack([np.ones(40), first, costs])
    coefficients, squares, _, _ = np.linalg.lstsq(design, values)
    error = math.sqrt(squares[0] / 37 * np.linalg.inv(design.T @ design)[1, 1])
    assert found.difference == pytest.approx(coefficients[1])
    assert found.high - found.difference == pytest.approx(stats.t.ppf(0.975, 37) * error)
    assert found.p_difference == pytest.approx(2 * stats.t.sf(abs(coefficients[1]) / error, 37))


def test_weights_give_each_group_the_same_costs() -> None:
    costs, groups, _ = differing_in_cost(np.random.default_rng(4), 50, 90)
    bins = matched_groups.matched_bins(costs, groups)
    weights = matched_groups.weights(groups, bins)
    by_bin = [np.bincount(bins[(groups == g) & (bins >= 0)], weights[(groups == g) & (bins >= 0)]) for g in (0, 1)]
    assert by_bin[0] == pytest.approx(by_bin[1])
    assert by_bin[0].sum() == pytest.approx(1.0)
    assert not weights[bins < 0].any()
    assert set(bins) == {-1, *range(bins.max() + 1)}


def test_a_group_without_shared_costs_is_left_out_and_two_such_are_not_compared() -> None:
    costs = np.concatenate([np.linspace(0, 1, 20), np.linspace(0, 1, 20), np.linspace(5, 6, 20)])
    groups = np.repeat(["a", "b", "c"], 20)
    bins = matched_groups.matched_bins(costs, groups)
    assert set(groups[bins >= 0]) == {"a", "b"}
    assert (matched_groups.matched_bins(costs[20:], groups[20:]) == -1).all()
    assert (matched_groups.matched_bins([], []) == -1).all()
