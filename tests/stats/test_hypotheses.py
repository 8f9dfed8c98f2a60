"""Welch's test and Holm's correction against worked examples, scipy's test and simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from scaling_lab.stats import hypotheses


def test_the_p_of_t_has_its_closed_forms() -> None:
    for t in (0.1, 1.0, -7.5):
        assert hypotheses.two_sided_p(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(abs(t)), rel=1e-12)
        assert hypotheses.two_sided_p(t, 2) == pytest.approx(1 - abs(t) / math.sqrt(2 + t * t), rel=1e-10)


def test_welch_of_a_worked_example() -> None:
    # scipy 1.x, stats.ttest_ind(first, second, equal_var=False) and its confidence_interval().
    result = hypotheses.welch([51.5, 62.8, 44.8], [31.1, 23.8, 35.6, 34.0])
    assert result.difference == pytest.approx(21.908333333)
    assert (result.low, result.high) == pytest.approx((3.2047711603, 40.6118955064))
    assert result.p == pytest.approx(0.0336538713741)
    assert result.degrees == pytest.approx(2.9905294405895)


@given(st.lists(st.floats(20, 60), min_size=2, max_size=6), st.lists(st.floats(20, 60), min_size=2, max_size=6))
def test_our_welch_is_that_of_scipy(first: list[float], second: list[float]) -> None:
    if min(np.std(first), np.std(second)) < 1e-3:
        return
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


@pytest.mark.slow
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
