"""Intervals by the jackknife over units and by the bootstrap of units; a unit may have several rows.

A is rows, B is parts of the rows (all rows first), G is groups of units left out together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from scaling_lab.stats.ranks import Values, partial_tau, spearman, tau

Array = NDArray[Any]
Statistic = Callable[..., float]

RESAMPLES, SEED = 1000, 0
MOST_NUMBERS, LEAST_RESAMPLES = 400_000, 100  # rows times resamples

# The jackknife uses the scale asin(stretch · r) / stretch. The plain scale (0) gives intervals that are too short for r near 1,
# the arcsine (1) intervals that are too long for tau there. Chosen by benchmarks/interval_coverage.py.
STRETCH: dict[Statistic, float] = {spearman: 1.0, tau: 0.8, partial_tau: 0.8}
GROUPS, LEAST = 100, 5
LEAST_PARTIAL = 10  # with six units the interval of a partial tau covers 72 to 87 %
LEAST_DIFFERENCE = 8  # with six units the interval of the difference of two high taus covers 82 %


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A statistic with an interval over units: a 95 % confidence interval, or the middle 95 % of resamples."""

    value: float
    low: float
    high: float


# --- the jackknife ---------------------------------------------------------------------------------------------------


def leave_out(units: Sequence[object]) -> Array:
    """Return parts (1 + G, A), true for kept rows: all rows, then all except each unit's.

    More than GROUPS units are left out in that many random groups.
    """
    places, count = _places(units)
    groups = np.random.default_rng(SEED).permutation(count) % max(1, min(count, GROUPS))
    left_out = np.arange(int(groups.max(initial=-1)) + 1)[:, None]
    return np.concatenate([np.ones((1, len(places)), dtype=bool), groups[places] != left_out])


def of_parts(statistic: Statistic, parts_BA: Array, *columns: Values) -> Array:
    """Return (B,) a statistic of columns of equal length for each part of their rows."""
    arrays = [np.asarray(column, dtype=float) for column in columns]
    return np.array([statistic(*(array[kept] for array in arrays)) for kept in parts_BA])


def with_interval(statistic: Statistic, *columns: Values) -> Ranked:
    """Return a correlation (a key of STRETCH) of columns of equal length with its 95 % interval; each row is a unit."""
    count = len(columns[0])
    return jackknifed(statistic, of_parts(statistic, leave_out(range(count)), *columns), count)


def jackknifed(statistic: Statistic, values_B: Array, units: int) -> Ranked:
    """Return a correlation's 95 % interval from its values over the parts of `leave_out`.

    The interval is for the population from which the units are a sample. Low and high are nan for too few units.
    """
    value, without = float(values_B[0]), _known(values_B[1:])
    least = LEAST_PARTIAL if statistic is partial_tau else LEAST
    if math.isnan(value) or units < least or len(without) < LEAST:
        return _alone(value)
    stretch = STRETCH[statistic]
    error = math.sqrt(_variance(np.arcsin(stretch * np.clip(without, -1.0, 1.0)) / stretch))
    if error < 1e-6:
        return _unanimous(value, units)
    centre = math.asin(stretch * max(-1.0, min(1.0, value)))
    half = stretch * float(stdtrit(len(without) - 2, 0.975)) * error
    low, high = (math.sin(max(-math.pi / 2, min(math.pi / 2, end))) / stretch for end in (centre - half, centre + half))
    return Ranked(value=value, low=max(-1.0, low), high=min(1.0, high))


def tau_difference(first: Values, second: Values, first_B: Array, second_B: Array) -> Ranked:
    """Return the difference of two rankings' taus with a third, `first_B` and `second_B`, and its 95 % interval.

    The jackknife counts the variance of single pairs twice (Efron and Stein 1981). This variance is known here: squared
    differences of single pairs have mean 2 (1 - tau of the two rankings). Half of the excess is subtracted. The interval then
    covers 94 to 98 % (10 and 20 units) or 94 to 97 % (50). Without subtraction it covers up to 99 %, with all of it down to
    91 %. Low and high are nan for too few units, and where leaving out a unit changes nothing.
    """
    values_B, count = first_B - second_B, len(first)
    value, without = float(values_B[0]), _known(values_B[1:])
    if math.isnan(value) or count < LEAST_DIFFERENCE or len(without) < LEAST:
        return _alone(value)
    variance = _variance(without)
    if variance < 1e-18:
        return _alone(value)
    excess = 2.0 * (1.0 - tau(first, second)) - value**2 - 0.5 * count * variance
    of_pairs = max(0.0, excess) * (count - 2) / (count - 4)
    variance = max(0.75 * variance, variance - of_pairs / ((count - 1) * (count - 2)))
    half = float(stdtrit(len(without) - 2, 0.975)) * math.sqrt(variance)
    return Ranked(value=value, low=max(-2.0, value - half), high=min(2.0, value + half))


def _known(values: Array) -> Array:
    known: Array = values[~np.isnan(values)]
    return known


def _alone(value: float) -> Ranked:
    return Ranked(value=value, low=math.nan, high=math.nan)


def _variance(without_G: Array) -> float:
    return (len(without_G) - 1) / len(without_G) * float(((without_G - without_G.mean()) ** 2).sum())


def _unanimous(value: float, units: int) -> Ranked:
    """Return the interval where leaving out any unit changes nothing, as where all pairs agree; the jackknife fails there.

    Half a pair counts as discordant, with the variance of tau by Fieller, Hartley and Pearson (1957).
    """
    inner = math.atanh(1.0 - 2.0 / (units * (units - 1))) - 1.96 * math.sqrt(0.437 / max(1, units - 4))
    bound = math.tanh(inner)
    return Ranked(
        value=value, low=min(value, bound) if value > 0 else -1.0, high=1.0 if value > 0 else max(value, -bound)
    )


# --- the bootstrap ---------------------------------------------------------------------------------------------------


def resamples_of(rows: int) -> int:
    """Return the number of resamples for `rows` rows: fewer for many rows, to bound the time."""
    return min(RESAMPLES, max(LEAST_RESAMPLES, MOST_NUMBERS // max(1, rows)))


def resample(units: Sequence[object], *, resamples: int | None = None) -> Array:
    """Return bootstrap counts (A, 1 + B) of rows; units are resampled with all their rows. The first column is 1."""
    places, count = _places(units)
    random = np.random.default_rng(SEED)
    counts_AB = np.ones((len(places), 1 + (resamples_of(len(places)) if resamples is None else resamples)))
    for column in range(1, counts_AB.shape[1]):
        counts_AB[:, column] = np.bincount(random.integers(0, count, count), minlength=count)[places]
    return counts_AB


def regrets(proxy: Values, truth: Values, counts_AB: Array, tops: Sequence[int]) -> dict[int, Array]:
    """Return for each k the regret (B,): the best truth minus the best among the proxy's top k. Higher is better.

    Equal proxy values keep the order of the rows, which must not depend on the truth.
    """
    order = np.argsort(-np.asarray(proxy, dtype=float), kind="stable")
    sorted_AB = counts_AB[order]
    before_AB = np.cumsum(sorted_AB, axis=0) - sorted_AB
    truths_AB = np.where(sorted_AB > 0, np.asarray(truth, dtype=float)[order][:, None], -math.inf)
    best_B = truths_AB.max(axis=0)
    return {k: best_B - np.where(before_AB < k, truths_AB, -math.inf).max(axis=0) for k in tops}


def middle(values_B: Array) -> Ranked:
    """Return a statistic with the middle 95 % of its resamples.

    The range shows how much the value depends on single units. It is not a confidence interval: a regret is never below 0,
    and duplicates in a resample are ties.
    """
    value, drawn = float(values_B[0]), values_B[1:]
    if math.isnan(value) or not len(drawn) or np.isnan(drawn).all():
        return _alone(value)
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Ranked(value=value, low=float(low), high=float(high))


def _places(units: Sequence[object]) -> tuple[Array, int]:
    """Number the units in order of first occurrence."""
    different = {each: place for place, each in enumerate(dict.fromkeys(units))}
    return np.array([different[each] for each in units], dtype=int), len(different)
