"""How far seeds spread, and which differences they can show: what a plan before a run and a report after it both say.

Seeds are the unit of repetition. The Student t distribution is computed here from the incomplete beta function, so
that nothing beyond numpy is needed; the tests hold it against published quantiles and against simulations.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

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


@functools.lru_cache(maxsize=4096)
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


def kendall_tau_b(first: Sequence[float], second: Sequence[float]) -> float:
    """Compute Kendall's rank correlation with ties (tau-b); nan where either side is all ties or has one value."""
    signs_first = np.sign(np.subtract.outer(np.asarray(first, dtype=float), np.asarray(first, dtype=float)))
    signs_second = np.sign(np.subtract.outer(np.asarray(second, dtype=float), np.asarray(second, dtype=float)))
    pairs = float(np.abs(signs_first).sum()) * float(np.abs(signs_second).sum())
    return float((signs_first * signs_second).sum()) / math.sqrt(pairs) if pairs else math.nan
