"""Tests of differences: Welch's t test and Holm's correction for several tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

LEVEL = 0.05  # the significance level


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference of two means (first minus second) with its interval, two-sided p and degrees of freedom."""

    difference: float
    low: float
    high: float
    p: float
    degrees: float


def welch(first: Sequence[float], second: Sequence[float], *, confidence: float = 0.95) -> Difference:
    """Compare two means with Welch's t test (1947), which allows unequal SDs.

    Interval and p are nan where a group has fewer than two values. Where neither group varies, p is 1 or 0.
    `scipy.stats.ttest_ind` gives the same numbers, but takes ten times as long and warns about constant samples.
    """
    difference = float(np.mean(first) - np.mean(second))
    if len(first) < 2 or len(second) < 2:
        return Difference(difference=difference, low=math.nan, high=math.nan, p=math.nan, degrees=math.nan)
    shares = [float(np.var(values, ddof=1)) / len(values) for values in (first, second)]
    error = math.sqrt(sum(shares))
    if error == 0.0:
        p = 1.0 if difference == 0.0 else 0.0
        return Difference(difference=difference, low=difference, high=difference, p=p, degrees=math.inf)
    degrees = sum(shares) ** 2 / (shares[0] ** 2 / (len(first) - 1) + shares[1] ** 2 / (len(second) - 1))
    half = float(stdtrit(degrees, 0.5 + confidence / 2.0)) * error
    p = two_sided_p(difference / error, degrees)
    return Difference(difference=difference, low=difference - half, high=difference + half, p=p, degrees=degrees)


def two_sided_p(t: float, degrees: float) -> float:
    """Return the probability that Student's t is at least as far from 0."""
    return float(2.0 * stdtr(degrees, -abs(t)))


def holm(p_values: Sequence[float], *, family: int | None = None) -> list[float]:
    """Correct p values for several tests (Holm 1979); nan stays nan and does not count as a test.

    `family` is the number of tests from which these were selected. Example: all pairs, where only the best is compared with
    the others.
    """
    corrected = [math.nan] * len(p_values)
    tested = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    count = len(tested) if family is None else max(family, len(tested))
    running = 0.0
    for rank, (p, index) in enumerate(tested):
        running = max(running, min(1.0, (count - rank) * p))
        corrected[index] = running
    return corrected
