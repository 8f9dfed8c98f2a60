"""Statistics of many parts of the rows at once, against the same statistics of each part written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from scaling_lab import statistics
from scaling_lab.report import predictors
from scaling_lab.stats import ranks, resampling


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


@pytest.mark.parametrize("count", [40, 230])
def test_the_jackknife_of_many_parts_at_once_is_that_of_with_interval(count: int) -> None:
    draw = np.random.default_rng(0)
    size, *noise = draw.normal(size=(3, count))
    first, second = size + noise[0], size + noise[1]
    without = resampling.leave_out(range(count))
    assert without.shape == (count, 1 + min(count, ranks.GROUPS))
    taus = [resampling.kendall_taus(*two, without) for two in ((first, second), (first, size), (second, size))]
    for values, statistic, columns in (
        (taus[0], ranks.tau, (first, second)),
        (resampling.spearmans(first, second, without), ranks.spearman, (first, second)),
        (resampling.partial_taus(*taus), ranks.partial_tau, (first, second, size)),
    ):
        mine, slow = resampling.jackknifed(statistic, values, count), ranks.with_interval(statistic, *columns)
        assert (mine.value, mine.low, mine.high) == pytest.approx((slow.value, slow.low, slow.high), abs=1e-9)


def test_the_middle_of_a_regret_is_that_of_with_interval() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 40))
    counts = resampling.resample(range(40))
    assert counts.shape == (40, 1 + ranks.RESAMPLES)
    for k, drawn in resampling.regrets(first, second, counts, (1, 3, 5)).items():
        lost = resampling.middle(drawn)
        slow = ranks.with_interval(lambda a, b, k=k: ranks.regret(a, b, k=k), first, second)
        assert (lost.value, lost.low, lost.high) == pytest.approx((slow.value, slow.low, slow.high))


def test_an_architecture_is_left_out_with_all_its_rows() -> None:
    architectures = ["a", "b", "a", "c", "b"]
    counts = resampling.leave_out(architectures)
    assert counts.shape == (5, 4)
    assert (counts[:, 0] == 1).all()
    for column in counts[:, 1:].T:
        (gone,) = {each for each, kept in zip(architectures, column, strict=True) if not kept}
        assert [each for each, kept in zip(architectures, column, strict=True) if kept] == [
            each for each in architectures if each != gone
        ]
    many = resampling.leave_out(np.repeat(np.arange(1000), 2).tolist())
    assert (many[::2] == many[1::2]).all()
    assert ((many[:, 1:] == 0).sum(axis=1) == 1).all()
    assert ((many[:, 1:] == 0).sum(axis=0) == 20).all()
    assert resampling.leave_out([]).shape == (0, 1)


def test_rows_of_a_group_are_drawn_together() -> None:
    counts = resampling.resample(["a", "b", "a", "c", "b"], resamples=50)
    assert (counts[0] == counts[2]).all()
    assert (counts[1] == counts[4]).all()
    assert (counts[[0, 1, 3], 1:].sum(axis=0) == 3).all()
    assert (counts[:, 0] == 1).all()
    assert len(np.unique(counts[0])) > 1


def test_many_rows_have_fewer_resamples() -> None:
    assert resampling.resamples_of(0) == resampling.resamples_of(400) == ranks.RESAMPLES
    assert resampling.resamples_of(2000) == 200
    assert resampling.resamples_of(10**9) == resampling.LEAST_RESAMPLES


def test_what_cannot_be_had_has_no_interval() -> None:
    found = resampling.middle(np.array([math.nan, 0.1, 0.2]))
    assert math.isnan(found.value)
    assert math.isnan(found.low)
    assert math.isnan(resampling.partial_taus(np.array([1.0]), np.array([1.0]), np.array([0.5]))[0])
    for values, architectures in ((np.array([math.nan, *[0.5] * 8]), 8), (np.linspace(0.2, 0.5, 5), 4)):
        assert math.isnan(resampling.jackknifed(ranks.tau, values, architectures).low)


def differences(runs: int, count: int, loads: tuple[float, float]) -> tuple[list[ranks.Ranked], list[float]]:
    """Two predictors of one truth, each with noise of its own: the first's tau less the second's, and its plain jackknife."""
    draw, found, plain = np.random.default_rng(1), [], []
    for _ in range(runs):
        truth, *noise = draw.normal(size=(3, count))
        good, poor = (load * truth + math.sqrt(1 - load**2) * own for load, own in zip(loads, noise, strict=True))
        without = resampling.leave_out(range(count))
        taus = [resampling.kendall_taus(each, truth, without) for each in (good, poor)]
        found.append(predictors.ahead(good, poor, *taus))
        plain.append((count - 1) * float(np.var((taus[0] - taus[1])[1:])))
    return found, plain


@pytest.mark.parametrize("count", [12, 60])
def test_the_paired_difference_covers_the_truth(count: int) -> None:
    """The difference of their taus is 2/pi (asin(.8) - asin(.5))."""
    truth = 2 / math.pi * (math.asin(0.8) - math.asin(0.5))
    found, _ = differences(400, count, (0.8, 0.5))
    assert 0.93 <= np.mean([each.low <= truth <= each.high for each in found]) <= 0.99
    assert np.mean([each.value for each in found]) == pytest.approx(truth, abs=0.03)


def test_the_correction_takes_off_part_of_what_the_jackknife_is_too_wide_by() -> None:
    """Half the excess over the variance of the difference itself, which many draws show."""
    found, plain = differences(1500, 10, (0.8, 0.8))
    quantile = scipy.stats.t.ppf(0.975, 8)
    taken = np.mean([((each.high - each.low) / 2 / quantile) ** 2 for each in found if each.high - each.low > 0])
    true = np.var([each.value for each in found])
    assert np.mean(plain) > 1.4 * true
    assert (taken - true) / (np.mean(plain) - true) == pytest.approx(0.55, abs=0.15)


def test_a_difference_without_spread_or_of_few_has_no_interval() -> None:
    rising, falling = np.arange(9.0), -np.arange(9.0)
    taus = resampling.kendall_taus(rising, rising, resampling.leave_out(range(9)))
    for other, expected in ((rising, 0.0), (falling, 2.0)):
        same = predictors.ahead(rising, other, taus, np.sign(other[-1]) * taus)
        assert same.value == expected
        assert math.isnan(same.low)
    ((few,), _) = differences(1, 7, (0.8, 0.5))
    assert math.isfinite(few.value)
    assert math.isnan(few.low)
