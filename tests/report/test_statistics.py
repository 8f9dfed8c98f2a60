"""The statistics against published quantiles, worked examples and simulations with known truth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from scaling_lab.report import verdicts, words
from scaling_lab.stats import estimates, fronts, hypervolume, hypotheses, power, ranks

# Two-sided 95 % and 99 % quantiles, NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.7.2.
T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 8: 2.306, 10: 2.228, 30: 2.042, 100: 1.984}
T_995 = {1: 63.657, 2: 9.925, 3: 5.841, 5: 4.032, 10: 3.169, 30: 2.750}


@pytest.mark.parametrize(("degrees", "expected"), T_975.items())
def test_t_quantile_at_95_percent(degrees: int, expected: float) -> None:
    assert statistics.t_quantile(0.975, degrees) == pytest.approx(expected, abs=6e-4)
    assert statistics.t_quantile(0.025, degrees) == pytest.approx(-expected, abs=6e-4)


@pytest.mark.parametrize(("degrees", "expected"), T_995.items())
def test_t_quantile_at_99_percent(degrees: int, expected: float) -> None:
    assert statistics.t_quantile(0.995, degrees) == pytest.approx(expected, abs=6e-4)


def test_t_distribution_has_its_closed_forms() -> None:
    for t in (0.1, 1.0, 7.5):
        assert statistics.t_two_sided_p(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(t), rel=1e-12)
        assert statistics.t_two_sided_p(t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), rel=1e-10)
        assert statistics.t_two_sided_p(t, 1e7) == pytest.approx(math.erfc(t / math.sqrt(2)), rel=1e-4)


@pytest.mark.parametrize("degrees", [1, 1.7, 4, 19.5, 300])
@pytest.mark.parametrize("probability", [0.005, 0.2, 0.5, 0.8, 0.999])
def test_t_quantile_is_the_inverse(probability: float, degrees: float) -> None:
    t = statistics.t_quantile(probability, degrees)
    tail = statistics.t_two_sided_p(t, degrees) / 2
    assert (1 - tail if t > 0 else tail) == pytest.approx(probability, rel=1e-9)


def test_estimate_of_a_worked_example() -> None:
    result = estimates.estimate([51.5, 62.8, 44.8])
    assert result.mean == pytest.approx(53.0333, abs=1e-4)
    assert result.sd == pytest.approx(9.0970, abs=1e-3)
    assert result.high - result.mean == pytest.approx(4.3027 * 9.0970 / math.sqrt(3), abs=1e-2)


def test_one_value_has_no_interval_even_with_a_pooled_sd() -> None:
    result = estimates.estimate([50.0], pooled=(2.0, 10))
    assert result.mean == 50.0
    assert result.n == 1
    assert math.isnan(result.low)
    assert math.isnan(result.high)
    assert math.isnan(result.sd)
    assert math.isnan(estimates.estimate([]).mean)


def test_pooled_sd_is_the_residual_of_the_analysis_of_variance() -> None:
    sd, degrees = estimates.pooled_sd([[1.0, 3.0], [10.0, 11.0, 12.0], [99.0]])
    assert degrees == 3
    assert sd == pytest.approx(math.sqrt((2.0 + 2.0) / 3))
    assert estimates.pooled_sd([[1.0], [2.0]])[1] == 0


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    own = pooled = 0
    rounds, groups = 300, 5
    for _ in range(rounds):
        draws = random.normal(40.0, 1.5, size=(groups, 3))
        together = estimates.pooled_sd(draws.tolist())
        for draw in draws:
            alone = estimates.estimate(draw.tolist())
            shared = estimates.estimate(draw.tolist(), pooled=together)
            own += alone.low <= 40.0 <= alone.high
            pooled += shared.low <= 40.0 <= shared.high
    assert own / (rounds * groups) == pytest.approx(0.95, abs=0.02)
    assert pooled / (rounds * groups) == pytest.approx(0.95, abs=0.02)


def test_welch_equals_scipy() -> None:
    # scipy 1.x, stats.ttest_ind(first, second, equal_var=False) and its confidence_interval().
    result = hypotheses.welch([51.5, 62.8, 44.8], [31.1, 23.8, 35.6, 34.0])
    assert result.difference == pytest.approx(21.908333333)
    assert (result.low, result.high) == pytest.approx((3.2047711603, 40.6118955064))
    assert result.p == pytest.approx(0.0336538713741)
    assert result.degrees == pytest.approx(2.9905294405895)


@given(st.lists(st.floats(20, 60), min_size=2, max_size=6), st.lists(st.floats(20, 60), min_size=2, max_size=6))
def test_intervals_are_scipys(first: list[float], second: list[float]) -> None:
    if min(np.std(first), np.std(second)) < 1e-3:
        return
    own = estimates.estimate(first)
    error = float(scipy.stats.sem(first))
    assert (own.low, own.high) == pytest.approx(scipy.stats.t.interval(0.95, len(first) - 1, np.mean(first), error))
    found, expected = hypotheses.welch(first, second), scipy.stats.ttest_ind(first, second, equal_var=False)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()), abs=1e-6)
    assert found.p == pytest.approx(float(expected.pvalue), rel=1e-6)


def test_welch_says_nothing_about_one_seed() -> None:
    result = hypotheses.welch([50.0], [40.0, 41.0])
    assert result.difference == pytest.approx(9.5)
    assert math.isnan(result.p)
    assert math.isnan(result.low)


def test_welch_without_any_spread() -> None:
    assert hypotheses.welch([1.0, 1.0], [1.0, 1.0]).p == 1.0
    assert hypotheses.welch([2.0, 2.0], [1.0, 1.0]).p == 0.0


def test_welch_finds_a_difference_that_is_not_there_in_one_of_twenty() -> None:
    random = np.random.default_rng(1)
    found = 0
    for _ in range(1000):
        first, second = random.normal(0, 1, 5), random.normal(0, 3, 8)
        found += hypotheses.welch(first.tolist(), second.tolist()).p < 0.05
    assert found / 1000 == pytest.approx(0.05, abs=0.02)


def test_holm() -> None:
    assert hypotheses.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    corrected = hypotheses.holm([math.nan, 0.02, 0.5])
    assert math.isnan(corrected[0])
    assert corrected[1:] == pytest.approx([0.04, 0.5])
    assert hypotheses.holm([]) == []
    assert hypotheses.holm([0.01, 0.02], family=3) == pytest.approx([0.03, 0.04])


@pytest.mark.parametrize(("n", "expected"), [(3, 3.05), (5, 2.05), (10, 1.35)])
def test_smallest_detectable_difference_as_simulated_elsewhere(n: int, expected: float) -> None:
    assert power.smallest_detectable(1.0, n, n) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(("n", "other"), [(2, 2), (2, 5), (3, 3), (3, 10), (10, 10), (200, 300)])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.9])
def test_smallest_detectable_has_its_power_by_scipys_noncentral_t(n: int, other: int, power: float) -> None:
    standard = power.smallest_detectable(2.0, n, other, power=power) / (2.0 * math.sqrt(1 / n + 1 / other))
    quantile = scipy.stats.t.ppf(0.975, n + other - 2)
    tails = scipy.stats.nct.sf(quantile, n + other - 2, standard) + scipy.stats.nct.cdf(
        -quantile, n + other - 2, standard
    )
    assert tails == pytest.approx(power, abs=1e-5)


def test_smallest_detectable_difference_is_found_four_times_in_five() -> None:
    random = np.random.default_rng(2)
    delta = power.smallest_detectable(2.0, 10, 10)
    draws = random.normal(0.0, 2.0, size=(1000, 2, 10))
    found = sum(hypotheses.welch((first + delta).tolist(), second.tolist()).p < 0.05 for first, second in draws)
    assert found / 1000 == pytest.approx(0.8, abs=0.03)


def test_seeds_needed_is_the_first_count_that_suffices() -> None:
    n = power.seeds_needed(0.4, 0.3)
    assert n is not None
    assert power.smallest_detectable(0.3, n, n) <= 0.4 < power.smallest_detectable(0.3, n - 1, n - 1)
    assert power.seeds_needed(0.0, 0.3) is None


@pytest.mark.parametrize(("k", "expected"), [(1, 0.0), (5, 1.163), (20, 1.867), (100, 2.508)])
def test_best_of_k_equal_candidates(k: int, expected: float) -> None:
    assert estimates.expected_best_of(k) == pytest.approx(expected, abs=2e-3)


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


def test_hypervolume() -> None:
    assert statistics.hypervolume([1.0, 2.0], [1.0, 2.0], reference=(3.0, 0.0)) == pytest.approx(3.0)
    assert statistics.hypervolume([1.0, 2.0, 2.5], [1.0, 2.0, 0.5], reference=(3.0, 0.0)) == pytest.approx(3.0)
    assert statistics.hypervolume([5.0], [9.0], reference=(3.0, 0.0)) == 0.0


def test_kendall_tau_b() -> None:
    assert ranks.tau([1, 2, 3, 4], [1, 2, 3, 4]) == pytest.approx(1.0)
    assert ranks.tau([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1.0)
    # scipy 1.x, stats.kendalltau: 6 values with ties on both sides.
    assert ranks.tau([1, 2, 2, 3, 5, 5], [1, 3, 2, 3, 4, 1]) == pytest.approx(0.3846153846)
    assert math.isnan(ranks.tau([1, 1, 1], [1, 2, 3]))
    assert ranks.permutation_p([1, 2, 3, 4], [1, 2, 3, 4]) == pytest.approx(2 / 24)


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


def test_an_interval_about_nothing_has_no_negative_zero() -> None:
    assert words.interval(-0.04, 0.04) == "[0.0, 0.0]"
    assert words.interval(-0.06, 12.34) == "[-0.1, 12.3]"
    assert words.interval(math.nan, math.nan) == "–"


def test_a_verdict_has_the_same_words_by_p_and_by_interval() -> None:
    for first, second in (((1.0, 1.2, 0.9), (3.0, 3.1, 2.8)), ((1.0, 2.0, 3.0), (1.5, 2.5, 2.0)), ((1.0,), (2.0, 2.1))):
        found = hypotheses.welch(first, second)
        assert verdicts.verdict(found.p) == verdicts.interval_verdict(found.low, found.high)
    assert [verdicts.verdict(p) for p in (0.049, 0.05, math.nan)] == [
        "distinguishable",
        "not distinguishable",
        "no claim",
    ]


def test_few_runs_of_normal_seeds_have_a_training_called_far_below() -> None:
    random = np.random.default_rng(0)
    for n, count in ((3, 3), (5, 9), (10, 20)):
        called = [
            any(map(any, estimates.far_below(random.standard_normal((count, n)).tolist())[1])) for _ in range(1000)
        ]
        assert sum(called) < 25


def test_what_is_far_below_does_not_hide_itself_by_its_own_spread() -> None:
    limit, marks = estimates.far_below([[80.0, 81.0, 82.0, 20.0, 83.0], [70.0, 71.0, 72.0], [5.0, 90.0]])
    assert 0 < limit < 20
    assert marks == [[False, False, False, True, False], [False] * 3, [False] * 2]
    assert estimates.far_below([[1.0, 1.0, 1.0, 0.0]])[1] == [[False] * 4]
    assert math.isnan(estimates.far_below([[1.0, 2.0]])[0])
