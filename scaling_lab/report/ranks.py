"""How far one ranking agrees with another: correlations, regret, and what is left of them once size is known. No tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling_lab.statistics import kendall_tau_b, t_quantile

RESAMPLES, SEED = 1000, 0

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A statistic with its 95 % interval over architectures; a regret has the middle 95 % of resamples, which is none."""

    value: float
    low: float
    high: float


def spearman(first: Sequence[float] | Array, second: Sequence[float] | Array) -> float:
    """Compute Spearman's rank correlation; ties share their mean rank. nan where either side is all ties."""
    ranks = [_mean_ranks(np.asarray(values, dtype=float)) for values in (first, second)]
    if min(float(np.ptp(each)) if len(each) else 0.0 for each in ranks) == 0.0:
        return math.nan
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _mean_ranks(values: Array) -> Array:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    found: Array = (np.cumsum(counts) - 0.5 * (counts - 1))[places]
    return found


def tau(first: Sequence[float] | Array, second: Sequence[float] | Array) -> float:
    """Compute Kendall's tau-b."""
    return kendall_tau_b(np.asarray(first).tolist(), np.asarray(second).tolist())


def tau_of_draws(draws_BA: Array, fixed: Sequence[float] | Array) -> Array:
    """Compute (B,) the tau-b of each row of draws (B, A) with one fixed ranking (A,); nan where either side is all ties."""
    first, second = np.triu_indices(draws_BA.shape[1], k=1)
    fixed_A = np.asarray(fixed, dtype=float)
    signs_P = np.sign(fixed_A[first] - fixed_A[second])
    signs_BP = np.sign(draws_BA[:, first] - draws_BA[:, second])
    pairs_B = np.abs(signs_BP).sum(axis=1) * np.abs(signs_P).sum()
    with np.errstate(invalid="ignore"):
        taus_B: Array = np.where(pairs_B > 0, (signs_BP * signs_P).sum(axis=1) / np.sqrt(pairs_B), math.nan)
    return taus_B


def partial_tau(
    first: Sequence[float] | Array, second: Sequence[float] | Array, given: Sequence[float] | Array
) -> float:
    """Compute the tau of two rankings that is left once a third, such as log GMACs, is known (Kendall 1942)."""
    both, one, other = tau(first, second), tau(first, given), tau(second, given)
    rest = (1 - one**2) * (1 - other**2)
    return (both - one * other) / math.sqrt(rest) if rest > 0 else math.nan


def regret(proxy: Sequence[float] | Array, truth: Sequence[float] | Array, *, k: int = 1) -> float:
    """Give what is lost by taking the best of the proxy's first k instead of the best of all; higher is better in both."""
    proxies, truths = np.asarray(proxy, dtype=float), np.asarray(truth, dtype=float)
    chosen = np.argsort(-proxies, kind="stable")[:k]
    return float(truths.max() - truths[chosen].max())


def with_interval(statistic: Callable[..., float], *columns: Sequence[float] | Array) -> Ranked:
    """Give a statistic of columns of equal length with a 95 % interval over architectures.

    A correlation gets the jackknife's interval: of the correlation in all architectures that these might be a sample of. Any
    other statistic gets the percentiles of resampled rows, which say how much it hangs on single architectures and cover no
    truth by promise: resampled twins are ties, and a regret is never below 0.
    """
    arrays = [np.asarray(column, dtype=float) for column in columns]
    value, count = statistic(*arrays), len(arrays[0])
    if statistic in STRETCH:
        groups = left_out_together(count)
        kept = [groups != group for group in range(int(groups.max(initial=-1)) + 1)] if count >= LEAST else []
        without = [statistic(*(array[rows] for array in arrays)) for rows in kept]
        return jackknifed(statistic, value, np.array(without), count)
    random = np.random.default_rng(SEED)
    drawn = []
    for _ in range(RESAMPLES):
        rows = random.integers(0, count, count)
        drawn.append(statistic(*(array[rows] for array in arrays)))
    if np.isnan(drawn).all():
        return Ranked(value=value, low=math.nan, high=math.nan)
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Ranked(value=value, low=float(low), high=float(high))


# --- the jackknife ---------------------------------------------------------------------------------------------------

# On which scale the jackknife is taken: asin(stretch · r) / stretch. Between the plain scale (0), whose intervals are too
# short where r is near 1, and the arcsine (1), whose are too long for tau there; by benchmarks/interval_coverage.py.
STRETCH: dict[Callable[..., float], float] = {spearman: 1.0, tau: 0.8, partial_tau: 0.8}
GROUPS, LEAST = 100, 5
LEAST_PARTIAL = 10  # of six, the interval of a partial tau covers 72 to 87 %
LEAST_DIFFERENCE = 8  # of six, the interval of the difference of two high taus covers 82 %


def left_out_together(count: int) -> Array:
    """Give (count,) the group with which each row, or architecture, is left out: its own, or of many one of a hundred."""
    groups: Array = np.random.default_rng(SEED).permutation(count) % max(1, min(count, GROUPS))
    return groups


def jackknifed(statistic: Callable[..., float], value: float, without_G: Array, count: int) -> Ranked:
    """Give a correlation of `count` architectures its interval, by what it is without each group of them (G,)."""
    without = without_G[~np.isnan(without_G)]
    least = LEAST_PARTIAL if statistic is partial_tau else LEAST
    if math.isnan(value) or count < least or len(without) < LEAST:
        return Ranked(value=value, low=math.nan, high=math.nan)
    stretch = STRETCH[statistic]
    scaled = np.arcsin(stretch * np.clip(without, -1.0, 1.0)) / stretch
    error = math.sqrt(_variance(scaled))
    if error < 1e-9:
        return _unanimous(value, count)
    middle, half = (
        math.asin(stretch * max(-1.0, min(1.0, value))),
        stretch * t_quantile(0.975, len(without) - 2) * error,
    )
    low, high = (math.sin(max(-math.pi / 2, min(math.pi / 2, end))) / stretch for end in (middle - half, middle + half))
    return Ranked(value=value, low=max(-1.0, low), high=min(1.0, high))


def _variance(without_G: Array) -> float:
    return (len(without_G) - 1) / len(without_G) * float(((without_G - without_G.mean()) ** 2).sum())


def difference_jackknifed(value: float, without_G: Array, between: float, count: int) -> Ranked:
    """Give the difference of two rankings' taus with a third its interval; `between` is the tau of the two.

    The jackknife counts twice what hangs on pairs of architectures alone (Efron and Stein 1981). How much that is, is known
    here: the squares of the differences that single pairs make have the mean 2 (1 - between). Half of the excess is taken off:
    so the interval covers 94 to 98 % (of 10 and 20 architectures) or 94 to 97 % (50); with nothing taken off up to 99 %, with
    all of it down to 91 %. Where leaving out an architecture changes nothing there is no interval.
    """
    without = without_G[~np.isnan(without_G)]
    if math.isnan(value) or count < LEAST_DIFFERENCE or len(without) < LEAST:
        return Ranked(value=value, low=math.nan, high=math.nan)
    variance = _variance(without)
    if variance < 1e-18:
        return Ranked(value=value, low=math.nan, high=math.nan)
    of_pairs = max(0.0, 2.0 * (1.0 - between) - value**2 - 0.5 * count * variance) * (count - 2) / (count - 4)
    variance = max(0.75 * variance, variance - of_pairs / ((count - 1) * (count - 2)))
    half = t_quantile(0.975, len(without) - 2) * math.sqrt(variance)
    return Ranked(value=value, low=max(-2.0, value - half), high=min(2.0, value + half))


def _unanimous(value: float, count: int) -> Ranked:
    """Give the interval where no row changes anything, as where all pairs agree: the jackknife sees no spread there.

    Half a pair is counted as disagreeing, with the variance of tau by Fieller, Hartley and Pearson (1957).
    """
    inner = math.atanh(1.0 - 2.0 / (count * (count - 1))) - 1.96 * math.sqrt(0.437 / max(1, count - 4))
    bound = math.tanh(inner)
    return Ranked(
        value=value, low=min(value, bound) if value > 0 else -1.0, high=1.0 if value > 0 else max(value, -bound)
    )


# --- what a repeat reaches -------------------------------------------------------------------------------------------

MOST_NUMBERS, LEAST_DRAWS = 100_000, 20  # of architectures times draws: the tau of many varies little between draws


def noise_ceiling(
    means: Sequence[float], errors: Sequence[float], *, draws: int | None = None, seed: int = SEED
) -> float:
    """Give the mean tau of two repeats of the same truth: what a ranking with these standard errors can reach at most.

    The means spread more than the truth does, by their errors; the truth is drawn in towards their mean accordingly. nan where
    no repeat has an order. Of more than a hundred architectures there are fewer than a thousand draws.
    """
    values, spread = np.asarray(means, dtype=float), np.asarray(errors, dtype=float)
    variance = float(np.var(values, ddof=1))
    kept = max(0.0, 1.0 - float((spread**2).mean()) / variance) if variance > 0 else 0.0
    truth = values.mean() + math.sqrt(kept) * (values - values.mean())
    random = np.random.default_rng(seed)
    draws = draws or min(RESAMPLES, max(LEAST_DRAWS, MOST_NUMBERS // max(1, len(values))))
    taus = [tau(truth + spread * random.standard_normal(len(truth)), truth + spread * random.standard_normal(len(truth)))
            for _ in range(draws)]  # fmt: skip
    return float(np.nanmean(taus)) if not np.isnan(taus).all() else math.nan
