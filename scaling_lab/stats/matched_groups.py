"""Comparison of groups of architectures at matched cost: bins of cost, weights that equalise it, and tests within bins.

As in arXiv:1905.13214 ("On network design spaces", section 3), results are compared under one distribution of complexity.
There, bins have equal width; here they are quantiles of the cost. The unit is the architecture. N is architectures, B
permutations, K bins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from scaling_lab.stats.hypotheses import two_sided_p

PERMUTATIONS, SEED = 999, 0
# Bins are fine, since the distributions keep what cost explains within a bin. With these, groups of 20 to 3000 that differ
# only in cost differ significantly at 5 % in 5 of 100 cases; in up to 9 for the smallest where AP saturates
# (tests/stats/test_matched_groups.py).
EACH_BIN, MOST_BINS = 4, 40
LEAST_LEFT = 5  # architectures with a match, of each group

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two groups at matched cost: Kolmogorov-Smirnov distance and difference of means, each with its p.

    `distance` is that of the weighted distributions; its p is over permutations of the groups within bins. `difference` is
    the first mean minus the second, adjusted for the slope in log cost within bins, with its 95 % t interval and p. These are
    nan where bins are too small for an SD.
    """

    distance: float
    p_distance: float
    difference: float
    low: float
    high: float
    p_difference: float

    @property
    def p(self) -> float:
        """The smaller of both p, Bonferroni-corrected; that of the distance where the other is nan."""
        if math.isnan(self.p_difference):
            return self.p_distance
        return min(1.0, 2.0 * min(self.p_distance, self.p_difference))


def matched_bins(costs: Sequence[float] | Array, groups: Sequence[Any] | Array) -> Array:
    """Return the bin (N,) of each architecture, from 0; -1 for those without a match in every other group.

    Groups without LEAST_LEFT matches are dropped one by one, first the one whose removal keeps most of the others.
    """
    costs_N, groups_N = np.asarray(costs, dtype=float), np.asarray(groups)
    names = [name for name in dict.fromkeys(groups_N.tolist()) if (groups_N == name).sum() >= LEAST_LEFT]
    while len(names) > 1:
        bins_N = _bins(costs_N, groups_N, names)
        if _least(bins_N, groups_N, names) >= LEAST_LEFT:
            return bins_N
        without = [[name for name in names if name != dropped] for dropped in names]
        names = max(without, key=lambda rest: int((_bins(costs_N, groups_N, rest) >= 0).sum()) if len(rest) > 1 else 0)
    return np.full(len(costs_N), -1)


def weights(groups: Sequence[Any] | Array, bins_N: Array) -> Array:
    """Return weights (N,) that sum to 1 in each group, equally over the bins; 0 for architectures without a bin."""
    groups_N, found_N = np.asarray(groups), np.zeros(len(bins_N))
    number = int(bins_N.max()) + 1
    for name in dict.fromkeys(groups_N.tolist()):
        own = (groups_N == name) & (bins_N >= 0)
        counts_K = np.bincount(bins_N[own], minlength=number)
        found_N[own] = 1.0 / (number * counts_K[bins_N[own]])
    return found_N


def compare(
    values: Sequence[float] | Array,
    costs: Sequence[float] | Array,
    first: Sequence[bool] | Array,
    bins_N: Array,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = SEED,
) -> Compared:
    """Compare the first group (`first` is true) with the second at the same log costs; both are in every bin."""
    first_N = np.asarray(first, dtype=bool)
    order = np.argsort(np.asarray(values, dtype=float), kind="stable")
    values_N, costs_N = (np.asarray(each, dtype=float)[order] for each in (values, costs))
    first_N, bins_N = first_N[order], bins_N[order]
    signed_N = np.where(first_N, 1.0, -1.0) * weights(first_N, bins_N)
    drawn_BN = _exchanged(signed_N, bins_N, permutations, seed)
    last_N = np.append(np.diff(values_N) > 0, True)  # among equal values only the last step counts
    distance = float(_distances(signed_N[None], last_N)[0])
    as_far = int((_distances(drawn_BN, last_N) >= distance - 1e-9).sum())
    difference, error, degrees = _difference(values_N, costs_N, first_N, bins_N, signed_N)
    half = float(stdtrit(degrees, 0.975)) * error if degrees > 0 else math.nan
    return Compared(
        distance=distance,
        p_distance=(1 + as_far) / (permutations + 1),
        difference=difference,
        low=difference - half,
        high=difference + half,
        p_difference=_p(difference, error, degrees),
    )


def _bins(costs_N: Array, groups_N: Array, names: Sequence[Any]) -> Array:
    """Split the groups' common range of cost at quantiles, and keep bins with all groups."""
    ours = [groups_N == name for name in names]
    low = max(float(costs_N[own].min()) for own in ours)
    high = min(float(costs_N[own].max()) for own in ours)
    inside_N = (costs_N >= low) & (costs_N <= high) & np.logical_or.reduce(ours)
    least = min(int((inside_N & own).sum()) for own in ours)
    if least == 0:
        return np.full(len(costs_N), -1)
    number = min(max(1, least // EACH_BIN), MOST_BINS)
    edges = np.quantile(costs_N[inside_N], np.linspace(0.0, 1.0, number + 1))[1:-1]
    bins_N = np.where(inside_N, np.searchsorted(edges, costs_N, side="right"), -1)
    shared = [k for k in range(number) if all((bins_N[own] == k).any() for own in ours)]
    renumbered = np.full(number + 1, -1)  # the last entry is for bin -1
    renumbered[shared] = range(len(shared))
    found: Array = renumbered[bins_N]
    return found


def _least(bins_N: Array, groups_N: Array, names: Sequence[Any]) -> int:
    return min(int(((groups_N == name) & (bins_N >= 0)).sum()) for name in names)


def _exchanged(signed_N: Array, bins_N: Array, draws: int, seed: int) -> Array:
    """Exchange groups within bins: draws (B, N) of the signed weights."""
    random = np.random.default_rng(seed)
    drawn_BN = np.empty((draws, len(signed_N)))
    for k in range(int(bins_N.max()) + 1):
        (places,) = np.nonzero(bins_N == k)
        drawn_BN[:, places] = random.permuted(np.tile(signed_N[places], (draws, 1)), axis=1)
    return drawn_BN


def _distances(signed_BN: Array, last_N: Array) -> Array:
    found_B: Array = np.abs(np.cumsum(signed_BN, axis=1)[:, last_N]).max(axis=1)
    return found_B


def _difference(
    values_N: Array, costs_N: Array, first_N: Array, bins_N: Array, signed_N: Array
) -> tuple[float, float, int]:
    """Return the difference of means, its standard error and degrees of freedom (nan and 0 without a spread).

    The slope is common to all groups and bins, so it contains no difference between groups.
    """
    _, cells_N = np.unique(2 * bins_N + first_N, return_inverse=True)
    counts = np.bincount(cells_N)
    costs_in_N = costs_N - (np.bincount(cells_N, costs_N) / counts)[cells_N]
    values_in_N = values_N - (np.bincount(cells_N, values_N) / counts)[cells_N]
    square = float(costs_in_N @ costs_in_N)
    if square < 1e-12:  # one cost in each cell, so no slope
        slope, lever, square = 0.0, 0.0, 1.0
    else:
        slope, lever = float(costs_in_N @ values_in_N) / square, float(signed_N @ costs_N)
    difference = float(signed_N @ values_N) - slope * lever
    degrees = len(values_N) - len(counts) - 1
    if degrees < 1:
        return difference, math.nan, 0
    variance = float(((values_in_N - slope * costs_in_N) ** 2).sum()) / degrees
    return difference, math.sqrt(variance * (float(signed_N @ signed_N) + lever**2 / square)), degrees


def _p(difference: float, error: float, degrees: int) -> float:
    if degrees < 1:
        return math.nan
    if error < 1e-12:
        return 1.0 if abs(difference) < 1e-9 else 0.0
    return two_sided_p(difference / error, degrees)
