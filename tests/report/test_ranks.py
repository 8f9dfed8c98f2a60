"""Rank statistics against scipy, and their intervals against a known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from scaling_lab.report import ranks

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


def test_the_interval_of_tau_covers_the_truth() -> None:
    """Draws from a normal pair, whose tau is 2/pi asin(rho)."""
    draw = np.random.default_rng(1)
    truth, covered, runs = 2 / math.pi * math.asin(0.6), 0, 200
    for _ in range(runs):
        x = draw.normal(size=60)
        found = ranks.with_interval(ranks.tau, x, 0.6 * x + 0.8 * draw.normal(size=60))
        covered += found.low <= truth <= found.high
    assert 0.90 <= covered / runs <= 0.99


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
    """Thirty architectures with an SD of 1 AP, seeds with one of 0.2 : 0.82 for one seed, 0.92 for five, by simulation."""
    draw = np.random.default_rng(3)
    for seeds, expected in ((1, 0.82), (5, 0.92)):
        error = 0.2 / math.sqrt(seeds)
        found = []
        for seed in range(20):
            means = draw.normal(0, 1, 30) + error * draw.standard_normal(30)
            found.append(ranks.noise_ceiling(means.tolist(), [error] * 30, draws=50, seed=seed))
        assert np.mean(found) == pytest.approx(expected, abs=0.03)


def test_without_any_truth_the_ceiling_is_nothing() -> None:
    draw = np.random.default_rng(4)
    found = [ranks.noise_ceiling(draw.normal(size=30).tolist(), [1.0] * 30, draws=30, seed=seed) for seed in range(20)]
    assert np.mean(found) < 0.25
