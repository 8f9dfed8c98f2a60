"""How far seeds spread, and which differences they can show: what a plan before a run and a report after it both say.

Seeds are the unit of repetition. The Student t distribution is computed here from the incomplete beta function, so
that nothing beyond numpy is needed; the tests hold it against published quantiles and against simulations.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

# --- the t distribution ----------------------------------------------------------------------------------------------


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Compute the regularised incomplete beta function I_x(a, b).

    Source: the continued fraction DLMF 8.17.22, evaluated by Lentz's method; the symmetry
    I_x(a, b) = 1 - I_{1-x}(b, a) keeps it where it converges fast.
    """
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - incomplete_beta(b, a, 1.0 - x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) / (a * _beta_fraction(a, b, x))


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Evaluate 1 + d1/(1 + d2/(1 + ...)) of DLMF 8.17.22."""
    tiny = 1e-300
    value = numerator = 1.0
    denominator = 0.0
    for step in range(1, 1000):
        m = step // 2
        if step % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        denominator = 1.0 / ((1.0 + d * denominator) or tiny)
        numerator = (1.0 + d / numerator) or tiny
        value *= numerator * denominator
        if abs(numerator * denominator - 1.0) < 1e-15:
            break
    return value


def t_two_sided_p(t: float, degrees: float) -> float:
    """Give the probability that |T| is at least |t|."""
    return incomplete_beta(degrees / 2.0, 0.5, degrees / (degrees + t * t))


@functools.lru_cache(maxsize=65536)  # thousands of intervals share a few degrees of freedom
def t_quantile(probability: float, degrees: float) -> float:
    """Give t with P(T <= t) = probability, for 0 < probability < 1."""
    if probability == 0.5:
        return 0.0
    tail = 2.0 * min(probability, 1.0 - probability)
    low, high = 0.0, 1.0
    while t_two_sided_p(high, degrees) > tail:
        low, high = high, 2.0 * high
    while high - low > 1e-12 * high:
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if t_two_sided_p(middle, degrees) > tail else (low, middle)
    return math.copysign(0.5 * (low + high), probability - 0.5)


# --- spreads and differences -----------------------------------------------------------------------------------------


def pooled_sd(groups: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Pool the spread within groups: the residual SD of a one-way analysis of variance, and its degrees of freedom.

    Groups of one add nothing. Without a group of two or more the SD is nan and the degrees are 0.
    """
    repeated = [np.asarray(group, dtype=float) for group in groups if len(group) > 1]
    degrees = sum(len(group) - 1 for group in repeated)
    if degrees == 0:
        return math.nan, 0
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in repeated)
    return math.sqrt(squares / degrees), degrees


def smallest_detectable(sd: float, n_first: int, n_second: int, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """Give the smallest true difference that a two-sided t-test finds with that power; nan below two seeds on a side.

    It is the t-test with equal spreads: Welch's, which does not suppose them, needs about 15 % more at three seeds a
    side, twice as much at two, and half as much again at three against ten. So read it as: a difference below this cannot
    be relied on to show.
    """
    if n_first < 2 or n_second < 2:
        return math.nan
    standard = _noncentrality(n_first + n_second - 2, power, alpha)
    return standard * sd * math.sqrt(1.0 / n_first + 1.0 / n_second)


@functools.cache
def _noncentrality(degrees: int, power: float, alpha: float) -> float:
    """Give how many standard errors from 0 the truth must lie for a t-test of that power."""
    quantile = t_quantile(1.0 - alpha / 2.0, degrees)
    low, high = 0.0, quantile + t_quantile(max(power, 0.5), degrees) + 2.0
    while high - low > 1e-9 * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _power(middle, quantile, degrees) < power else (low, middle)
    return high


def _power(standard: float, quantile: float, degrees: int) -> float:
    """Give P(|T| > quantile) for a noncentral T: the normal's tails, averaged over what the estimated SD may be.

    The SD's logarithm is integrated over by the trapezium rule, which is exact to many digits for so smooth a bell.
    """
    logs = np.linspace(-9.0, 9.0, 361) / math.sqrt(2.0 * degrees) * (1.0 + 1.0 / degrees)
    weights = np.exp(degrees * (logs - 0.5 * np.expm1(2.0 * logs)))
    found = np.array(
        [0.5 * math.erfc((bound - standard) / math.sqrt(2.0)) + 0.5 * math.erfc((bound + standard) / math.sqrt(2.0))
         for bound in quantile * np.exp(logs)]
    )  # fmt: skip
    return float((weights * found).sum() / weights.sum())


def seeds_needed(difference: float, sd: float, *, most: int = 1000) -> int | None:
    """Give the seeds on each side with which a difference of this size would be found; None if more than `most`."""
    if smallest_detectable(sd, most, most) > abs(difference):
        return None
    low, high = 1, most  # too few, enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if smallest_detectable(sd, middle, middle) <= abs(difference) else (middle, high)
    return high


# --- ranks -----------------------------------------------------------------------------------------------------------


FEW = 128  # values, of which all pairs are compared faster than they are sorted
AT_ONCE = 16  # resamples: their numbers stay in the processor's cache

Array = np.ndarray[Any, np.dtype[Any]]


def kendall_tau_b(first: Sequence[float], second: Sequence[float]) -> float:
    """Compute Kendall's rank correlation with ties (tau-b); nan where either side is all ties or has one value."""
    one, other = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if len(one) > FEW:
        return float(kendall_taus(one, other, np.ones((len(one), 1)))[0])
    signs_one, signs_other = np.sign(np.subtract.outer(one, one)), np.sign(np.subtract.outer(other, other))
    pairs = float(np.abs(signs_one).sum()) * float(np.abs(signs_other).sum())
    return float((signs_one * signs_other).sum()) / math.sqrt(pairs) if pairs else math.nan


def kendall_taus(first: Sequence[float] | Array, second: Sequence[float] | Array, counts_AB: Array) -> Array:
    """Compute the tau-b of many resamples at once: value a counts counts_AB[a, b] times in resample b; gives (B,).

    It takes B · A log A steps (Knight 1966, with sums of counts in place of counts): what the resamples share, the order of
    the values, is found once.
    """
    one, other = (np.unique(np.asarray(values, dtype=float), return_inverse=True)[1] for values in (first, second))
    if np.isnan(np.asarray(first, dtype=float)).any() or np.isnan(np.asarray(second, dtype=float)).any():
        return np.full(counts_AB.shape[1], math.nan)
    order = np.lexsort((other, one))
    one, other, sorted_AB = one[order], other[order], counts_AB[order].astype(float)
    all_B = sorted_AB.sum(axis=0) ** 2
    one_B, other_B = _tied(one, sorted_AB), _tied(other, sorted_AB)
    both_B = _tied(one * (int(other.max(initial=0)) + 1) + other, sorted_AB)
    concordant_less_discordant_B = all_B - one_B - other_B + both_B - 4.0 * _discordant(other, sorted_AB)
    pairs_B = (all_B - one_B) * (all_B - other_B)
    return np.where(pairs_B > 0, concordant_less_discordant_B / np.sqrt(np.where(pairs_B > 0, pairs_B, 1.0)), math.nan)


def _tied(values: Array, counts_AB: Array) -> Array:
    """Count (B,) the ordered pairs of equal values, each with itself too."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-1))
    sums: Array = (np.add.reduceat(counts_AB[order], starts, axis=0) ** 2).sum(axis=0)
    return sums


def _discordant(values: Array, counts_AB: Array) -> Array:
    """Count (B,) the pairs of which the one that stands first is the larger, as a merge sort meets them.

    At each step blocks of two halves, each in order, are merged; before an element of the right half stand those of the left
    half that are larger.
    """
    place, top = np.arange(len(values)), int(values.max(initial=0)) + 1
    steps = []
    width = 1
    while width < len(values):
        is_left = (place // width) % 2 == 0
        order = np.argsort((place // (2 * width)) * (2 * top) + 2 * (top - 1 - values) + is_left)
        right = np.flatnonzero(~is_left[order])
        steps.append((order, is_left[order][:, None], right, right // (2 * width) * (2 * width)))
        width *= 2
    found_B = np.zeros(counts_AB.shape[1])
    for start in range(0, len(found_B), AT_ONCE):
        part_AB = np.ascontiguousarray(counts_AB[:, start : start + AT_ONCE])
        before_AB = np.zeros((len(values) + 1, part_AB.shape[1]))
        for order, is_left_A1, right, block in steps:
            merged_AB = part_AB[order]
            np.cumsum(merged_AB * is_left_A1, axis=0, out=before_AB[1:])
            larger_RB = before_AB[right] - before_AB[block]
            found_B[start : start + AT_ONCE] += np.einsum("rb,rb->b", merged_AB[right], larger_RB)
    return found_B
