"""The statistics that reports use, as short pure functions on numbers; it knows nothing of runs, tables or pages.

Seeds are the unit of repetition. The t distribution, and what plans say of differences too, are scaling_lab.statistics'.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaling_lab.statistics import incomplete_beta as incomplete_beta
from scaling_lab.statistics import kendall_tau_b as kendall_tau_b
from scaling_lab.statistics import pooled_sd as pooled_sd
from scaling_lab.statistics import seeds_needed as seeds_needed
from scaling_lab.statistics import smallest_detectable as smallest_detectable
from scaling_lab.statistics import t_quantile, t_two_sided_p

LEVEL = 0.05  # below it a p is called distinguishable


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over n seeds; sd, low and high are nan where nothing can be said about the spread."""

    n: int
    mean: float
    sd: float
    low: float
    high: float


FAR = 5.0  # robust SDs: of runs whose seeds are normal, 1.3 % or fewer then have a training called far below


def far_below(groups: Sequence[Sequence[float]]) -> tuple[float, list[list[bool]]]:
    """Find values that lie far below their group's median; groups of fewer than three have none.

    Gives the distance from which on they do, and a mark for each value. The distance is FAR times the spread, by the median
    of all distances from medians: outliers, which would spread an SD, do not change it. nan without a group of three, and 0
    (and no marks) where most values are equal.
    """
    medians = [float(np.median(group)) for group in groups]
    apart: list[float] = []
    for group, middle in zip(groups, medians, strict=True):
        if len(group) >= 3:  # an odd group's median is one of its values, 0 from itself
            apart += sorted(abs(value - middle) for value in group)[len(group) % 2 :]
    limit = FAR * 1.4826 * float(np.median(apart)) if apart else math.nan
    marks = [
        [len(group) >= 3 and middle - value > limit > 0.0 for value in group]
        for group, middle in zip(groups, medians, strict=True)
    ]
    return limit, marks


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference of two means (first minus second) with its interval and two-sided p."""

    difference: float
    low: float
    high: float
    p: float
    degrees: float


# --- means and spreads -----------------------------------------------------------------------------------------------


def estimate(values: Sequence[float], *, pooled: tuple[float, int] | None = None, confidence: float = 0.95) -> Estimate:
    """Estimate the mean with a t-interval; `pooled` is (SD, degrees) to use in place of the values' own spread.

    One value gives no interval, pooled or not: nothing shows that its spread is that of the others.
    """
    n = len(values)
    mean = float(np.mean(values)) if n else math.nan
    if n < 2:
        return Estimate(n=n, mean=mean, sd=math.nan, low=math.nan, high=math.nan)
    own = float(np.std(values, ddof=1))
    sd, degrees = (own, n - 1) if pooled is None or pooled[1] < n - 1 else pooled
    half = t_quantile(0.5 + confidence / 2.0, degrees) * sd / math.sqrt(n)
    return Estimate(n=n, mean=mean, sd=own, low=mean - half, high=mean + half)


def welch(first: Sequence[float], second: Sequence[float], *, confidence: float = 0.95) -> Difference:
    """Compare two means without supposing equal spreads (Welch 1947); nan interval and p where either has one value."""
    difference = float(np.mean(first) - np.mean(second))
    if len(first) < 2 or len(second) < 2:
        return Difference(difference=difference, low=math.nan, high=math.nan, p=math.nan, degrees=math.nan)
    shares = [float(np.var(values, ddof=1)) / len(values) for values in (first, second)]
    error = math.sqrt(sum(shares))
    if error == 0.0:
        p = 1.0 if difference == 0.0 else 0.0
        return Difference(difference=difference, low=difference, high=difference, p=p, degrees=math.inf)
    degrees = sum(shares) ** 2 / (shares[0] ** 2 / (len(first) - 1) + shares[1] ** 2 / (len(second) - 1))
    half = t_quantile(0.5 + confidence / 2.0, degrees) * error
    p = t_two_sided_p(difference / error, degrees)
    return Difference(difference=difference, low=difference - half, high=difference + half, p=p, degrees=degrees)


def holm(p_values: Sequence[float], *, family: int | None = None) -> list[float]:
    """Correct p-values for being many (Holm 1979); nan stays nan and does not count as a test.

    `family` counts the tests that these were chosen from where they are fewer: all pairs, where the best is compared with
    each of the others.
    """
    corrected = [math.nan] * len(p_values)
    tested = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    count = len(tested) if family is None else max(family, len(tested))
    running = 0.0
    for rank, (p, index) in enumerate(tested):
        running = max(running, min(1.0, (count - rank) * p))
        corrected[index] = running
    return corrected


def verdict(p: float) -> str:
    """Name what a p says: "distinguishable" below LEVEL, "not distinguishable", or "no claim" where it is nan."""
    return "no claim" if math.isnan(p) else "distinguishable" if p < LEVEL else "not distinguishable"


def interval_verdict(low: float, high: float) -> str:
    """Name in the same words what a difference's interval says: whether it leaves out 0."""
    return "no claim" if math.isnan(low) else "distinguishable" if low > 0 or high < 0 else "not distinguishable"


def expected_best_of(k: int) -> float:
    """Give how far the highest of k equal candidates stands above their mean by chance, in SDs of one result."""
    z = np.linspace(-10.0, 10.0, 4001)
    density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    below = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1])) * (z[1] - z[0])])
    return float(np.trapezoid(k * z * density * np.clip(below, 0.0, 1.0) ** (k - 1), z))


# --- fronts and ranks ------------------------------------------------------------------------------------------------


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> list[bool]:
    """Mark the points that no other point beats: no dearer and no worse, and better in one of the two.

    Equal points are all marked. A point with nan is never on the front.
    """
    marks = [False] * len(costs)
    usable = [index for index in range(len(costs)) if not (math.isnan(costs[index]) or math.isnan(values[index]))]
    best = -math.inf
    by_cost = sorted(usable, key=lambda index: costs[index])
    for _, group in itertools.groupby(by_cost, key=lambda index: costs[index]):
        same_cost = list(group)
        highest = max(values[index] for index in same_cost)
        if highest > best:
            best = highest
            for index in same_cost:
                marks[index] = values[index] == highest
    return marks


def hypervolume(costs: Sequence[float], values: Sequence[float], *, reference: tuple[float, float]) -> float:
    """Measure the area that the points dominate up to the reference (cost, value); points beyond it add nothing."""
    marks = pareto_front(costs, values)
    front = sorted({(costs[i], values[i]) for i, on in enumerate(marks) if on and costs[i] < reference[0]})
    area, floor = 0.0, reference[1]
    for cost, value in front:
        if value > floor:
            area += (reference[0] - cost) * (value - floor)
            floor = value
    return area


def front_of(points: Sequence[Sequence[float]]) -> list[list[float]]:
    """Give the points that no other dominates, each once; smaller is better in every objective."""
    different = [list(point) for point in dict.fromkeys(map(tuple, points))]
    array = np.array(different).reshape(len(different), -1)
    if array.shape[1] == 2 and not np.isnan(array).any():
        # In order of both, a point is dominated where one before it is as good in the second objective.
        order = np.lexsort((array[:, 1], array[:, 0]))
        before = np.minimum.accumulate(np.append(math.inf, array[order[:-1], 1]))
        return [different[place] for place in np.sort(order[array[order, 1] < before])]
    return [point for point in different if not ((array <= point).all(axis=1) & (array < point).any(axis=1)).any()]


def dominated_volume(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Measure the hypervolume that points dominate up to the reference, in any number of objectives; smaller is better.

    It cuts slices along the first objective, each of the others' volume; few points of a front are what it is for.
    """
    inside = sorted(tuple(point) for point in points if all(a < b for a, b in zip(point, reference, strict=True)))
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - inside[0][0]
    volume = 0.0
    for place, point in enumerate(inside, start=1):
        end = inside[place][0] if place < len(inside) else reference[0]
        if end > point[0]:
            volume += (end - point[0]) * dominated_volume([each[1:] for each in inside[:place]], reference[1:])
    return volume


def kendall_exact_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Give the two-sided p of tau-b over all orders of `second`; for at most 7 values (5,040 orders)."""
    observed = abs(kendall_tau_b(first, second))
    orders = list(itertools.permutations(second))
    return sum(abs(kendall_tau_b(first, order)) >= observed - 1e-12 for order in orders) / len(orders)
