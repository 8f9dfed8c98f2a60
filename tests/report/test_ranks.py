"""Rank statistics against scipy, and their intervals against a known truth."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats

from scaling_lab.stats import ranks

CORRELATIONS = [(ranks.tau, 2 / math.pi * math.asin(0.6)), (ranks.spearman, 6 / math.pi * math.asin(0.3))]
TIED = [1.0, 2, 2, 3, 5, 5], [1.0, 3, 2, 3, 4, 1]


def test_spearman_and_tau_are_scipys() -> None:
    draw = np.random.default_rng(0)
    for first, second in (TIED, (draw.normal(size=30), draw.normal(size=30))):
        assert ranks.spearman(first, second) == pytest.approx(scipy.stats.spearmanr(first, second).statistic)
        assert ranks.tau(first, second) == pytest.approx(scipy.stats.kendalltau(first, second).statistic)
    assert math.isnan(ranks.spearman([1, 1, 1], [1, 2, 3]))


def test_tau_of_draws_is_scipys_row_by_row() -> None:
    draw = np.random.default_rng(5)
    rows, fixed = draw.integers(0, 4, (40, 6)).astype(float), [1.0, 2, 2, 3, 4, 5]
    expected = [scipy.stats.kendalltau(row, fixed).statistic for row in rows]
    assert ranks.tau_of_draws(rows, fixed).tolist() == pytest.approx(expected, nan_ok=True)
    assert np.isnan(ranks.tau_of_draws(np.array([[1.0, 1, 1], [1, math.nan, 2]]), [1.0, 2, 3])).all()


def test_a_run_without_any_spread_has_no_ceiling() -> None:
    assert math.isnan(ranks.noise_ceiling([40.0, 40.0, 40.0], [0.0, 0.0, 0.0], draws=5))


@pytest.mark.parametrize(("statistic", "truth"), CORRELATIONS)
def test_the_interval_of_a_correlation_covers_the_truth(statistic: Callable[..., float], truth: float) -> None:
    """Draws from a normal pair, whose tau is 2/pi asin(rho) and whose Spearman's rho is 6/pi asin(rho/2)."""
    draw = np.random.default_rng(1)
    covered, runs = 0, 400
    for _ in range(runs):
        x = draw.normal(size=15)
        found = ranks.with_interval(statistic, x, 0.6 * x + 0.8 * draw.normal(size=15))
        assert -1 <= found.low <= found.value <= found.high <= 1
        covered += found.low <= truth <= found.high
    assert covered / runs == pytest.approx(0.95, abs=0.035)


def test_the_jackknife_is_scipys_on_the_plain_scale() -> None:
    """With a tau near 0 and many pairs the scale hardly matters, and groups of rows do as well as single ones."""
    draw = np.random.default_rng(5)
    x, y = draw.normal(size=(2, 90))
    found = ranks.with_interval(ranks.tau, x, y)
    without = [scipy.stats.kendalltau(np.delete(x, k), np.delete(y, k)).statistic for k in range(90)]
    half = scipy.stats.t.ppf(0.975, 88) * math.sqrt(89 / 90 * ((without - np.mean(without)) ** 2).sum())
    assert found.high - found.low == pytest.approx(2 * half, rel=0.02)
    many = draw.normal(size=(2, 400))
    each = [scipy.stats.kendalltau(np.delete(many[0], k), np.delete(many[1], k)).statistic for k in range(400)]
    whole = 2 * 1.966 * math.sqrt(399 / 400 * float(((each - np.mean(each)) ** 2).sum()))
    grouped = ranks.with_interval(ranks.tau, *many)
    assert grouped.high - grouped.low == pytest.approx(whole, rel=0.25)


def test_full_agreement_is_no_certainty_and_few_pairs_have_no_interval() -> None:
    rising = list(range(8))
    up, down = ranks.with_interval(ranks.tau, rising, rising), ranks.with_interval(ranks.tau, rising, rising[::-1])
    assert (up.value, up.high, down.value, down.low) == (1.0, 1.0, -1.0, -1.0)
    assert 0.3 < up.low < 0.95
    assert down.high == -up.low
    assert math.isnan(ranks.with_interval(ranks.tau, [1, 2, 3, 4], [1, 3, 2, 4]).low)
    assert math.isnan(ranks.with_interval(ranks.tau, [1] * 8, rising).low)
    third = [3, 1, 2, 5, 4, 8, 6, 7, 9, 10]
    assert math.isnan(ranks.with_interval(ranks.partial_tau, rising, rising, third[:8]).low)
    ten = ranks.with_interval(ranks.partial_tau, [1, 2, 4, 3, 5, 6, 7, 8, 10, 9], range(10), third)
    assert ten.low < ten.value < ten.high
    assert math.isnan(ranks.with_interval(ranks.spearman, [math.nan] * 8, rising).low)


def test_partial_tau_sees_through_size() -> None:
    """Two measures that both follow size alone agree, and no longer once size is known."""
    draw = np.random.default_rng(2)
    size = draw.normal(size=400)
    first, second = size + draw.normal(size=400), size + draw.normal(size=400)
    assert ranks.tau(first, second) > 0.25
    assert abs(ranks.partial_tau(first, second, size)) < ranks.tau(first, second) / 2
    alike = first + 0.1 * draw.normal(size=400)
    assert ranks.partial_tau(first, alike, size) > 0.7
    assert math.isnan(ranks.partial_tau(size, first, size))


def test_regret_is_what_the_proxy_costs() -> None:
    truth = [50.0, 48, 49, 40]
    assert ranks.regret([1, 2, 3, 4], truth) == 10.0
    assert ranks.regret([1, 2, 3, 4], truth, k=2) == 1.0
    assert ranks.regret(truth, truth) == ranks.regret([1, 2, 3, 4], truth, k=4) == 0.0


def test_the_ceiling_is_what_two_repeats_reach() -> None:
    """Thirty architectures, as simulated elsewhere: spread and SD of seeds in AP, number of seeds, tau of two repeats."""
    draw = np.random.default_rng(3)
    settings = {(1.0, 0.2): (0.82, 0.90, 0.92), (0.5, 0.3): (0.53, 0.70, 0.77)}
    every = [(*key, seeds, tau) for key, taus in settings.items() for seeds, tau in zip((1, 3, 5), taus, strict=True)]
    for spread, sd, seeds, expected in every:
        error = sd / math.sqrt(seeds)
        found = []
        for seed in range(150):
            means = spread * draw.standard_normal(30) + error * draw.standard_normal(30)
            found.append(ranks.noise_ceiling(means.tolist(), [error] * 30, draws=10, seed=seed))
        assert np.mean(found) == pytest.approx(expected, abs=0.03)


def test_the_ceiling_of_many_is_that_of_few_draws() -> None:
    means = np.random.default_rng(6).normal(size=500).tolist()
    start = time.process_time()
    found = ranks.noise_ceiling(means, [0.3] * 500)
    assert time.process_time() - start < 1.0
    assert found == pytest.approx(ranks.noise_ceiling(means, [0.3] * 500, draws=400, seed=1), abs=0.005)


def test_without_any_truth_the_ceiling_is_nothing() -> None:
    draw = np.random.default_rng(4)
    found = [ranks.noise_ceiling(draw.normal(size=30).tolist(), [1.0] * 30, draws=30, seed=seed) for seed in range(20)]
    assert np.mean(found) < 0.25
