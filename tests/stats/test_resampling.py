"""Intervals of ranks: the jackknife and the bootstrap written out, and their coverage of a known truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from scaling_lab.stats import ranks, resampling

CORRELATIONS = [(ranks.tau, 2 / math.pi * math.asin(0.6)), (ranks.spearman, 6 / math.pi * math.asin(0.3))]

# --- the jackknife ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("statistic", "truth"), CORRELATIONS)
def test_the_interval_of_a_correlation_covers_the_truth(statistic: Callable[..., float], truth: float) -> None:
    """Draws from a normal pair, whose tau is 2/pi asin(rho) and whose Spearman's rho is 6/pi asin(rho/2)."""
    draw = np.random.default_rng(1)
    covered, runs = 0, 400
    for _ in range(runs):
        x = draw.normal(size=15)
        found = resampling.with_interval(statistic, x, 0.6 * x + 0.8 * draw.normal(size=15))
        assert -1 <= found.low <= found.value <= found.high <= 1
        covered += found.low <= truth <= found.high
    assert covered / runs == pytest.approx(0.95, abs=0.035)


def test_the_jackknife_is_the_textbooks_on_the_plain_scale() -> None:
    """With a tau near 0 and many pairs the scale hardly matters, and groups of rows do as well as single ones."""
    draw = np.random.default_rng(5)
    x, y = draw.normal(size=(2, 90))
    found = resampling.with_interval(ranks.tau, x, y)
    without = [ranks.tau(np.delete(x, k), np.delete(y, k)) for k in range(90)]
    half = 1.9873 * math.sqrt(89 / 90 * ((without - np.mean(without)) ** 2).sum())
    assert found.high - found.low == pytest.approx(2 * half, rel=0.02)
    many = draw.normal(size=(2, 400))
    each = [ranks.tau(np.delete(many[0], k), np.delete(many[1], k)) for k in range(400)]
    whole = 2 * 1.966 * math.sqrt(399 / 400 * float(((each - np.mean(each)) ** 2).sum()))
    grouped = resampling.with_interval(ranks.tau, *many)
    assert grouped.high - grouped.low == pytest.approx(whole, rel=0.25)


def test_full_agreement_is_no_certainty_and_few_pairs_have_no_interval() -> None:
    rising = list(range(8))
    up, down = (
        resampling.with_interval(ranks.tau, rising, rising),
        resampling.with_interval(ranks.tau, rising, rising[::-1]),
    )
    assert (up.value, up.high, down.value, down.low) == pytest.approx((1.0, 1.0, -1.0, -1.0))
    assert 0.3 < up.low < 0.95
    assert down.high == -up.low
    assert math.isnan(resampling.with_interval(ranks.tau, [1, 2, 3, 4], [1, 3, 2, 4]).low)
    assert math.isnan(resampling.with_interval(ranks.tau, [1] * 8, rising).low)
    third = [3, 1, 2, 5, 4, 8, 6, 7, 9, 10]
    assert math.isnan(resampling.with_interval(ranks.partial_tau, rising, rising, third[:8]).low)
    ten = resampling.with_interval(ranks.partial_tau, [1, 2, 4, 3, 5, 6, 7, 8, 10, 9], range(10), third)
    assert ten.low < ten.value < ten.high
    assert math.isnan(resampling.with_interval(ranks.spearman, [math.nan] * 8, rising).low)


@pytest.mark.parametrize("statistic", [ranks.tau, ranks.spearman])
def test_agreement_with_ties_is_no_certainty_either(statistic: Callable[..., float]) -> None:
    tied = np.arange(40) // 3
    found = resampling.with_interval(statistic, tied, tied)
    assert found.high == 1.0
    assert 0.99 < found.low < 0.999


def test_an_architecture_is_left_out_with_all_its_rows() -> None:
    units = ["a", "b", "a", "c", "b"]
    parts = resampling.leave_out(units)
    assert parts.shape == (4, 5)
    assert parts[0].all()
    for kept in parts[1:]:
        (gone,) = {each for each, stays in zip(units, kept, strict=True) if not stays}
        assert [each for each, stays in zip(units, kept, strict=True) if stays] == [
            each for each in units if each != gone
        ]
    assert sorted(resampling.of_parts(sum, parts, [1, 2, 4, 8, 16])) == [13, 23, 26, 31]
    many = resampling.leave_out(np.repeat(np.arange(1000), 2).tolist())
    assert (many[:, ::2] == many[:, 1::2]).all()
    assert ((~many[1:]).sum(axis=0) == 1).all()
    assert ((~many[1:]).sum(axis=1) == 20).all()
    assert resampling.leave_out([]).shape == (1, 0)


def test_groups_of_architectures_are_left_out_of_a_partial_tau() -> None:
    """The taus of each part, combined, are the partial taus of each part."""
    size, *noise = np.random.default_rng(0).normal(size=(3, 130))
    first, second = size + noise[0], size + noise[1]
    parts = resampling.leave_out(range(130))
    assert parts.shape == (1 + resampling.GROUPS, 130)
    taus = [resampling.of_parts(ranks.tau, parts, *two) for two in ((first, second), (first, size), (second, size))]
    expected = resampling.of_parts(ranks.partial_tau, parts, first, second, size)
    assert ranks.partial_taus(*taus) == pytest.approx(expected)


def differences(runs: int, count: int, loads: tuple[float, float]) -> tuple[list[resampling.Ranked], list[float]]:
    """Two predictors of one truth, each with noise of its own: the first's tau less the second's, and its plain jackknife."""
    draw, found, plain = np.random.default_rng(1), [], []
    for _ in range(runs):
        truth, *noise = draw.normal(size=(3, count))
        good, poor = (load * truth + math.sqrt(1 - load**2) * own for load, own in zip(loads, noise, strict=True))
        parts = resampling.leave_out(range(count))
        taus = [resampling.of_parts(ranks.tau, parts, each, truth) for each in (good, poor)]
        found.append(resampling.tau_difference(good, poor, *taus))
        plain.append((count - 1) * float(np.var((taus[0] - taus[1])[1:])))
    return found, plain


@pytest.mark.slow
@pytest.mark.parametrize("count", [12, 60])
def test_the_paired_difference_covers_the_truth(count: int) -> None:
    """The difference of their taus is 2/pi (asin(.8) - asin(.5))."""
    truth = 2 / math.pi * (math.asin(0.8) - math.asin(0.5))
    found, _ = differences(400, count, (0.8, 0.5))
    assert 0.93 <= np.mean([each.low <= truth <= each.high for each in found]) <= 0.99
    assert np.mean([each.value for each in found]) == pytest.approx(truth, abs=0.03)


@pytest.mark.slow
def test_the_correction_takes_off_part_of_what_the_jackknife_is_too_wide_by() -> None:
    """Half the excess over the variance of the difference itself, which many draws show."""
    found, plain = differences(1500, 10, (0.8, 0.8))
    quantile = 2.306
    taken = np.mean([((each.high - each.low) / 2 / quantile) ** 2 for each in found if each.high - each.low > 0])
    true = np.var([each.value for each in found])
    assert np.mean(plain) > 1.4 * true
    assert (taken - true) / (np.mean(plain) - true) == pytest.approx(0.55, abs=0.15)


def test_a_difference_without_spread_or_of_few_has_no_interval() -> None:
    rising, falling = np.arange(9.0), -np.arange(9.0)
    taus = resampling.of_parts(ranks.tau, resampling.leave_out(range(9)), rising, rising)
    for other, expected in ((rising, 0.0), (falling, 2.0)):
        same = resampling.tau_difference(rising, other, taus, np.sign(other[-1]) * taus)
        assert same.value == expected
        assert math.isnan(same.low)
    ((few,), _) = differences(1, 7, (0.8, 0.5))
    assert math.isfinite(few.value)
    assert math.isnan(few.low)


# --- the bootstrap ---------------------------------------------------------------------------------------------------


def test_a_regret_is_what_the_proxy_costs() -> None:
    truth, once = [50.0, 48, 49, 40], np.ones((4, 1))
    lost = resampling.regrets([1, 2, 3, 4], truth, once, (1, 2, 4))
    assert [found.tolist() for found in lost.values()] == [[10.0], [1.0], [0.0]]
    assert resampling.regrets(truth, truth, once, [1])[1].tolist() == [0.0]
    # The fourth is not drawn, the third twice: the first two places are its.
    drawn = np.array([[1.0], [1.0], [2.0], [0.0]])
    assert [found.tolist() for found in resampling.regrets([1, 2, 3, 4], truth, drawn, (1, 2, 3)).values()] == [
        [1.0]
    ] * 3


def test_the_middle_of_a_regret_is_that_of_rows_drawn_one_by_one() -> None:
    proxy, truth = np.random.default_rng(0).normal(size=(2, 40))
    counts = resampling.resample(range(40))
    assert counts.shape == (40, 1 + resampling.RESAMPLES)
    random, drawn = np.random.default_rng(resampling.SEED), []
    for _ in range(resampling.RESAMPLES):
        rows = random.integers(0, 40, 40)
        drawn.append(truth[rows].max() - truth[rows][np.argmax(proxy[rows])])
    found = resampling.middle(resampling.regrets(proxy, truth, counts, [1])[1])
    assert found.value == truth.max() - truth[np.argmax(proxy)]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))


def test_rows_of_a_group_are_drawn_together() -> None:
    counts = resampling.resample(["a", "b", "a", "c", "b"], resamples=50)
    assert (counts[0] == counts[2]).all()
    assert (counts[1] == counts[4]).all()
    assert (counts[[0, 1, 3], 1:].sum(axis=0) == 3).all()
    assert (counts[:, 0] == 1).all()
    assert len(np.unique(counts[0])) > 1


def test_many_rows_have_fewer_resamples() -> None:
    assert resampling.resamples_of(0) == resampling.resamples_of(400) == resampling.RESAMPLES
    assert resampling.resamples_of(2000) == 200
    assert resampling.resamples_of(10**9) == resampling.LEAST_RESAMPLES


def test_what_cannot_be_had_has_no_interval() -> None:
    found = resampling.middle(np.array([math.nan, 0.1, 0.2]))
    assert math.isnan(found.value)
    assert math.isnan(found.low)
    for values, units in ((np.array([math.nan, *[0.5] * 8]), 8), (np.linspace(0.2, 0.5, 5), 4)):
        assert math.isnan(resampling.jackknifed(ranks.tau, values, units).low)
