"""Fronts under uncertainty: probability of membership, band, hypervolume and best value over posterior samples of the means.

A is architectures, B posterior samples (see posterior.py), G costs of a grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_lab.stats.fronts import on_front

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Range:
    """The median and an interval of posterior samples; nan where there are none."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, draws: Array, *, confidence: float = 0.95) -> Range:
        """Take the percentiles of samples (B,)."""
        if not len(draws) or np.isnan(draws).all():
            return cls(median=math.nan, low=math.nan, high=math.nan)
        tail = (1.0 - confidence) / 2.0
        low, median, high = np.nanquantile(draws, [tail, 0.5, 1.0 - tail])
        return cls(median=float(median), low=float(low), high=float(high))


def front_probability(costs: Sequence[float], means_BA: Array) -> Array:
    """Return (A,) the probability that each architecture is on the front of low cost and high mean; nan without samples."""
    shares_A: Array = on_front(costs, means_BA).mean(axis=0)
    shares_A[np.isnan(means_BA).any(axis=0)] = math.nan
    return shares_A


def front_band(costs: Sequence[float], means_BA: Array, grid: Sequence[float]) -> Array:
    """Return (3, G): the 5th, 50th and 95th percentile of the best mean at up to each cost of a grid; nan below the cheapest."""
    order_A = np.argsort(np.asarray(costs, dtype=float), kind="stable")
    best_BA = np.maximum.accumulate(np.nan_to_num(means_BA[:, order_A], nan=-math.inf), axis=1)
    affordable_G = np.searchsorted(np.asarray(costs, dtype=float)[order_A], np.asarray(grid, dtype=float), side="right")
    found = np.full((3, len(affordable_G)), math.nan)
    some_G = affordable_G > 0
    found[:, some_G] = np.quantile(best_BA[:, affordable_G[some_G] - 1], [0.05, 0.5, 0.95], axis=0)
    return found


def hypervolumes(costs: Sequence[float], means_BA: Array, *, reference: tuple[float, float]) -> Array:
    """Return (B,) the area that each sample dominates, log2 of the cost times AP, up to the reference (cost, AP).

    An architecture at half the reference's cost and 10 AP above it dominates 10.
    """
    order_A = np.argsort(np.asarray(costs, dtype=float), kind="stable")
    logs_A = np.log2(np.asarray(costs, dtype=float)[order_A])
    end = math.log2(reference[0])
    widths_A = np.clip(np.minimum(np.append(logs_A[1:], end), end) - logs_A, 0.0, None)
    best_BA = np.maximum.accumulate(np.nan_to_num(means_BA[:, order_A], nan=-math.inf), axis=1)
    volumes_B: Array = (np.clip(best_BA - reference[1], 0.0, None) * widths_A).sum(axis=1)
    return volumes_B


def best_value(values: Sequence[float], means_BA: Array) -> dict[float, float]:
    """Return for each value of a parameter (A,), such as a width factor, the probability that it has the highest mean.

    Several architectures of one value count with the mean of their means. All are nan where a mean has no samples.
    """
    different = sorted(set(values))
    array = np.asarray(values, dtype=float)
    by_value_BV = np.stack([means_BA[:, array == value].mean(axis=1) for value in different], axis=1)
    if np.isnan(by_value_BV).any():
        return dict.fromkeys(different, math.nan)
    winners_B = np.argmax(by_value_BV, axis=1)
    return {value: float((winners_B == place).mean()) for place, value in enumerate(different)}
