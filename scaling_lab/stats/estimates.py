"""Means over seeds with t intervals, the pooled SD, and the rule for failed runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, ndtr, stdtrit

FAR = 5.0  # robust SDs; with normal seeds, at most 1.3 % of studies then have a false outlier


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over n values with its SD and interval; what cannot be estimated is nan."""

    n: int
    mean: float
    sd: float
    low: float
    high: float


def estimate(values: Sequence[float], *, pooled: tuple[float, int] | None = None, confidence: float = 0.95) -> Estimate:
    """Estimate the mean with a t interval; `pooled` is (SD, degrees of freedom) to use in place of the values' own SD.

    A single value has no interval, even with a pooled SD, since its spread is unknown.
    """
    n = len(values)
    mean = float(np.mean(values)) if n else math.nan
    if n < 2:
        return Estimate(n=n, mean=mean, sd=math.nan, low=math.nan, high=math.nan)
    own = float(np.std(values, ddof=1))
    sd, degrees = (own, n - 1) if pooled is None or pooled[1] < n - 1 else pooled
    half = float(stdtrit(degrees, 0.5 + confidence / 2.0)) * sd / math.sqrt(n)
    return Estimate(n=n, mean=mean, sd=own, low=mean - half, high=mean + half)


def pooled_sd(groups: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Return the residual SD of a one-way analysis of variance and its degrees of freedom.

    Groups of one value add nothing. Without a group of two or more the result is (nan, 0).
    """
    repeated = [np.asarray(group, dtype=float) for group in groups if len(group) > 1]
    degrees = sum(len(group) - 1 for group in repeated)
    if degrees == 0:
        return math.nan, 0
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in repeated)
    return math.sqrt(squares / degrees), degrees


def far_below(groups: Sequence[Sequence[float]]) -> tuple[float, list[list[bool]]]:
    """Mark outliers far below their group's median; groups of fewer than three values have none.

    Returns the distance from which a value is an outlier, and a mark for each value. The distance is FAR robust SDs: 1.4826
    times the median distance from medians, which outliers do not inflate. It is nan without a group of three. It is 0,
    without marks, where most values are equal.
    """
    medians = [float(np.median(group)) for group in groups]
    apart: list[float] = []
    for group, middle in zip(groups, medians, strict=True):
        if len(group) >= 3:  # skips the zero distance of the median itself in odd groups
            apart += sorted(abs(value - middle) for value in group)[len(group) % 2 :]
    limit = FAR * 1.4826 * float(np.median(apart)) if apart else math.nan
    marks = [
        [len(group) >= 3 and middle - value > limit > 0.0 for value in group]
        for group, middle in zip(groups, medians, strict=True)
    ]
    return limit, marks


def expected_best_of(k: int) -> float:
    """Return the expected maximum of k standard normal values: the selection bias of the best of k equals, in SDs."""
    z = np.linspace(-10.0, 10.0, 4001)
    density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return float(np.trapezoid(k * z * density * ndtr(z) ** (k - 1), z))


def expected_count(n: int, share: float, *, confidence: float = 0.95) -> tuple[int, int]:
    """Return the central range of the number of n independent events with probability `share` each."""
    below = bdtr(np.arange(n + 1), n, share)
    low, high = (int(np.searchsorted(below, 0.5 + sign * confidence / 2.0)) for sign in (-1, 1))
    return low, high
