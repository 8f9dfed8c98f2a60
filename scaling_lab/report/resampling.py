"""Rank statistics of many parts of the rows at once, all of the same parts, so that their differences have intervals too.

A part is how often each row counts in it: counts_AB has a column for each, of which the first is the rows themselves. So
a statistic of B columns is an array of which the first is its value. A correlation is taken without each architecture, for the
jackknife (leave_out); a regret of architectures drawn anew (resample). A is rows, B parts, G groups. It writes no words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from scaling_lab.report import ranks
from scaling_lab.report.ranks import RESAMPLES, SEED, Array, Ranked
from scaling_lab.statistics import kendall_taus as kendall_taus

MOST_NUMBERS, LEAST_RESAMPLES = 400_000, 100  # of rows times resamples


def leave_out(architectures: Sequence[object]) -> Array:
    """Give counts (A, 1 + G) of all rows but those of each architecture, or of many architectures of each of a hundred groups."""
    places, count = _places(architectures)
    groups_A = ranks.left_out_together(count)[places]
    return np.stack(
        [np.ones(len(places)), *(groups_A != group for group in range(int(groups_A.max(initial=-1)) + 1))], axis=1
    )


def jackknifed(statistic: Callable[..., float], values_B: Array, architectures: int) -> Ranked:
    """Give a correlation over the columns of leave_out with its 95 % interval; `statistic` is which of ranks' it is."""
    return ranks.jackknifed(statistic, float(values_B[0]), values_B[1:], architectures)


def resamples_of(rows: int) -> int:
    """Give the number of resamples that so many rows are worth: fewer where the rows are many."""
    return min(RESAMPLES, max(LEAST_RESAMPLES, MOST_NUMBERS // max(1, rows)))


def resample(architectures: Sequence[object], *, resamples: int | None = None) -> Array:
    """Draw counts (A, 1 + B) of rows whose architectures are drawn anew, each with all its rows, such as its trials."""
    places, count = _places(architectures)
    random = np.random.default_rng(SEED)
    counts_AB = np.ones((len(places), 1 + (resamples_of(len(places)) if resamples is None else resamples)))
    for column in range(1, counts_AB.shape[1]):
        counts_AB[:, column] = np.bincount(random.integers(0, count, count), minlength=count)[places]
    return counts_AB


def _places(architectures: Sequence[object]) -> tuple[Array, int]:
    """Number the architectures in the order in which they first come."""
    different = {each: place for place, each in enumerate(dict.fromkeys(architectures))}
    return np.array([different[each] for each in architectures], dtype=int), len(different)


def middle(values_B: Array) -> Ranked:
    """Give a statistic with the middle 95 % of its resamples: how much it hangs on single architectures, and no more."""
    value, drawn = float(values_B[0]), values_B[1:]
    if math.isnan(value) or not len(drawn) or np.isnan(drawn).all():
        return Ranked(value=value, low=math.nan, high=math.nan)
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Ranked(value=value, low=float(low), high=float(high))


def spearmans(first: Sequence[float] | Array, second: Sequence[float] | Array, counts_AB: Array) -> Array:
    """Compute (B,) Spearman's rank correlations; nan where either side is all ties."""
    one_AB, other_AB = (_centred(_mid_ranks(np.asarray(v, dtype=float), counts_AB), counts_AB) for v in (first, second))
    both_B = np.einsum("ab,ab,ab->b", counts_AB, one_AB, other_AB)
    spread_B = np.einsum("ab,ab,ab->b", counts_AB, one_AB, one_AB) * np.einsum(
        "ab,ab,ab->b", counts_AB, other_AB, other_AB
    )
    usable = spread_B > 1e-9
    found: Array = np.where(usable, both_B / np.sqrt(np.where(usable, spread_B, 1.0)), math.nan)
    return found


def _mid_ranks(values: Array, counts_AB: Array) -> Array:
    """Rank (A, B) the values in each resample; equal ones share the middle of their ranks."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-math.inf))
    sums_GB = np.add.reduceat(counts_AB[order], starts, axis=0)
    middles_GB = np.cumsum(sums_GB, axis=0) - 0.5 * sums_GB
    middles: Array = middles_GB[np.unique(values, return_inverse=True)[1]]
    return middles


def _centred(values_AB: Array, counts_AB: Array) -> Array:
    centred: Array = values_AB - np.einsum("ab,ab->b", counts_AB, values_AB) / counts_AB.sum(axis=0)
    return centred


def partial_taus(both_B: Array, one_B: Array, other_B: Array) -> Array:
    """Compute (B,) what is left of the taus of two rankings once a third is known, from all three (see ranks.partial_tau)."""
    rest_B = (1 - one_B**2) * (1 - other_B**2)
    usable = rest_B > 1e-12
    found: Array = np.where(usable, (both_B - one_B * other_B) / np.sqrt(np.where(usable, rest_B, 1.0)), math.nan)
    return found


def regrets(
    proxy: Sequence[float] | Array, truth: Sequence[float] | Array, counts_AB: Array, tops: Sequence[int]
) -> dict[int, Array]:
    """Compute for each k what is lost, (B,), by taking the best of the proxy's first k (see ranks.regret).

    Equal values of the proxy come in the order of the rows, which therefore must have nothing to do with the truth.
    """
    order = np.argsort(-np.asarray(proxy, dtype=float), kind="stable")
    sorted_AB = counts_AB[order]
    before_AB = np.cumsum(sorted_AB, axis=0) - sorted_AB
    truths_AB = np.where(sorted_AB > 0, np.asarray(truth, dtype=float)[order][:, None], -math.inf)
    best_B = truths_AB.max(axis=0)
    return {k: best_B - np.where(before_AB < k, truths_AB, -math.inf).max(axis=0) for k in tops}
