"""Estimates against worked examples and simulations with a known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scaling_lab.stats import estimates


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


@pytest.mark.slow
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


@pytest.mark.parametrize(("k", "expected"), [(1, 0.0), (5, 1.163), (20, 1.867), (100, 2.508)])
def test_best_of_k_equal_candidates(k: int, expected: float) -> None:
    assert estimates.expected_best_of(k) == pytest.approx(expected, abs=2e-3)


@pytest.mark.slow
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


def test_the_range_of_a_count_is_that_of_a_binomial() -> None:
    """Of 10 throws of a coin, at most 1 head has probability 0.011, at most 2 has 0.055."""
    assert estimates.expected_count(10, 0.5) == (2, 8)
    assert estimates.expected_count(4, 0.95) == (3, 4)  # fewer than 3 has 0.014, fewer than 4 has 0.19
    assert estimates.expected_count(10, 0.5, confidence=0.8) == (3, 7)
