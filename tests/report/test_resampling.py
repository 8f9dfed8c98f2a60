"""Statistics of many resamples at once, against the same statistics of each resample written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from scaling_lab import statistics
from scaling_lab.report import ranks, resampling


def written_out(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.repeat(values, counts.astype(int))


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 3)), min_size=2, max_size=40))
def test_tau_and_spearman_are_scipys_with_ties_and_repeats(rows: list[tuple[int, int, int]]) -> None:
    first, second, counts = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    assume(counts.any())
    taus = statistics.kendall_taus(first, second, np.stack([counts, np.ones(len(rows))], axis=1))
    rhos = resampling.spearmans(first, second, np.stack([counts, np.ones(len(rows))], axis=1))
    for column, found in enumerate((counts, np.ones(len(rows)))):
        one, other = written_out(first, found), written_out(second, found)
        if len(np.unique(one)) < 2 or len(np.unique(other)) < 2:
            assert math.isnan(taus[column])
            assert math.isnan(rhos[column])
            continue
        assert taus[column] == pytest.approx(scipy.stats.kendalltau(one, other).statistic, abs=1e-9)
        assert rhos[column] == pytest.approx(scipy.stats.spearmanr(one, other).statistic, abs=1e-9)


@pytest.mark.parametrize("count", [127, 128, 129, 1000, 3001])
@pytest.mark.parametrize("values", [7, 10_000_000])
def test_many_values_have_scipys_tau(count: int, values: int) -> None:
    draw = np.random.default_rng(count)
    first = draw.integers(0, values, count).astype(float)
    second = first + draw.integers(0, values, count)
    expected = scipy.stats.kendalltau(first, second).statistic
    assert statistics.kendall_tau_b(first.tolist(), second.tolist()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("count", [5, 500])
def test_a_missing_value_or_no_difference_has_no_tau(count: int) -> None:
    values = list(np.random.default_rng(0).normal(size=count))
    assert math.isnan(statistics.kendall_tau_b([math.nan, *values[1:]], values))
    assert math.isnan(statistics.kendall_tau_b([1.0] * count, values))


def test_resamples_and_intervals_are_those_of_with_interval() -> None:
    draw = np.random.default_rng(0)
    size = draw.normal(size=40)
    first, second = size + draw.normal(size=40), size + draw.normal(size=40)
    counts = resampling.resample(range(40))
    assert counts.shape == (40, 1 + ranks.RESAMPLES)
    taus = [resampling.kendall_taus(*two, counts) for two in ((first, second), (first, size), (second, size))]
    for found, statistic, columns in (
        (taus[0], ranks.tau, (first, second)),
        (resampling.spearmans(first, second, counts), ranks.spearman, (first, second)),
        (resampling.partial_taus(*taus), ranks.partial_tau, (first, second, size)),
    ):
        mine, slow = resampling.ranked(found), ranks.with_interval(statistic, *columns)
        assert (mine.value, mine.low, mine.high) == pytest.approx((slow.value, slow.low, slow.high), abs=1e-9)
    for k, drawn in resampling.regrets(first, second, counts, (1, 3, 5)).items():
        lost = resampling.ranked(drawn)
        slow = ranks.with_interval(lambda a, b, k=k: ranks.regret(a, b, k=k), first, second)
        assert (lost.value, lost.low, lost.high) == pytest.approx((slow.value, slow.low, slow.high))


def test_rows_of_a_group_are_drawn_together() -> None:
    counts = resampling.resample(["a", "b", "a", "c", "b"], resamples=50)
    assert (counts[0] == counts[2]).all()
    assert (counts[1] == counts[4]).all()
    assert (counts[[0, 1, 3], 1:].sum(axis=0) == 3).all()
    assert (counts[:, 0] == 1).all()
    assert len(np.unique(counts[0])) > 1


def test_many_rows_have_fewer_resamples() -> None:
    assert resampling.resamples_of(0) == resampling.resamples_of(1000) == ranks.RESAMPLES
    assert resampling.resamples_of(5000) == 200
    assert resampling.resamples_of(10**9) == resampling.LEAST_RESAMPLES


def test_what_cannot_be_had_has_no_interval() -> None:
    found = resampling.ranked(np.array([math.nan, 0.1, 0.2]))
    assert math.isnan(found.value)
    assert math.isnan(found.low)
    assert math.isnan(resampling.partial_taus(np.array([1.0]), np.array([1.0]), np.array([0.5]))[0])


def test_the_paired_difference_covers_the_truth() -> None:
    """Two predictors of one truth: the difference of their taus, 2/pi (asin(.8) - asin(.5)), is in 95 % of the intervals."""
    draw = np.random.default_rng(1)
    truth, covered, runs = 2 / math.pi * (math.asin(0.8) - math.asin(0.5)), 0, 200
    for _ in range(runs):
        target = draw.normal(size=60)
        good = 0.8 * target + 0.6 * draw.normal(size=60)
        poor = 0.5 * target + math.sqrt(0.75) * draw.normal(size=60)
        counts = resampling.resample(range(60), resamples=300)
        found = resampling.ranked(
            resampling.kendall_taus(good, target, counts) - resampling.kendall_taus(poor, target, counts)
        )
        covered += found.low <= truth <= found.high
    assert 0.90 <= covered / runs <= 0.99
