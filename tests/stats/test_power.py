"""Power against published sample sizes and a simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scaling_lab.stats import hypotheses, power


@pytest.mark.parametrize(("difference", "n"), [(0.5, 64), (0.8, 26), (1.0, 17)])
def test_the_seeds_that_a_difference_needs_are_cohens(difference: float, n: int) -> None:
    """Cohen 1992, A power primer, table 2 (and 1988, table 2.4.1): 80 % power, two-sided 5 %, n on each side."""
    assert power.seeds_needed(difference, 1.0) == power.seeds_needed(-3 * difference, 3.0) == n


@pytest.mark.parametrize(("n", "expected"), [(3, 3.05), (5, 2.05), (10, 1.35)])
def test_smallest_detectable_difference_as_simulated_elsewhere(n: int, expected: float) -> None:
    assert power.smallest_detectable(1.0, n, n) == pytest.approx(expected, rel=0.03)


@pytest.mark.slow
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


def test_one_seed_shows_no_difference() -> None:
    assert math.isnan(power.smallest_detectable(1.0, 1, 5))
