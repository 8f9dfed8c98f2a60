"""Trials of means, differences, false claims and power for interval_coverage.py, with normal seeds and known truth.

Each trial draws with its generator and returns rows of (nominal, found), as in interval_worlds.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from benchmarks.interval_worlds import Array, Trial, covered
from scaling_lab.report.analysis.frontier import SMALL_N
from scaling_lab.stats import estimates, hypotheses, power, ranks


def mean_own(n: int) -> Trial:
    def trial(random: np.random.Generator) -> Array:
        found = estimates.estimate(random.normal(40.0, 1.5, n).tolist())
        return covered(found.low, 40.0, found.high)

    return trial


def mean_pooled(seeds: Sequence[int]) -> Trial:
    """Test the intervals of all architectures of a run, by the report's rule: pooled up to SMALL_N seeds."""

    def trial(random: np.random.Generator) -> Array:
        groups = [random.normal(40.0, 1.5, n).tolist() for n in seeds]
        pooled = estimates.pooled_sd(groups)
        found = [estimates.estimate(g, pooled=pooled if len(g) <= SMALL_N else None) for g in groups]
        return np.concatenate([covered(each.low, 40.0, each.high) for each in found])

    return trial


def chosen(count: int, n: int, *, fresh: bool) -> Trial:
    """Test the interval of the best of equal architectures: with the seeds that selected it, or with fresh ones."""

    def trial(random: np.random.Generator) -> Array:
        draws = random.normal(40.0, 1.0, (count, n))
        pooled = estimates.pooled_sd(draws.tolist())
        best = draws[int(np.argmax(draws.mean(axis=1)))].tolist()
        if fresh:
            again = random.normal(40.0, 1.0, (3, n)).tolist()
            best, pooled = again[0], estimates.pooled_sd(again)
        found = estimates.estimate(best, pooled=pooled)
        return covered(found.low, 40.0, found.high)

    return trial


def welch(n_first: int, n_second: int, sd_first: float = 1.0) -> Trial:
    def trial(random: np.random.Generator) -> Array:
        found = hypotheses.welch(
            (1.0 + sd_first * random.standard_normal(n_first)).tolist(), random.standard_normal(n_second).tolist()
        )
        return covered(found.low, 1.0, found.high)

    return trial


def welch_stuck(n: int, share: float, below: float) -> Trial:
    """Test Welch's interval where a share of one group's training runs ends `below` SDs lower."""

    def trial(random: np.random.Generator) -> Array:
        first = random.standard_normal(n) - below * (random.random(n) < share)
        found = hypotheses.welch(first.tolist(), random.standard_normal(n).tolist())
        return covered(found.low, -below * share, found.high)

    return trial


def false_claim(count: int, n: int, *, best: bool) -> Trial:
    """Test for false claims of difference among equal architectures: from a baseline, or from the best."""

    def trial(random: np.random.Generator) -> Array:
        draws = random.standard_normal((count, n))
        first = int(np.argmax(draws.mean(axis=1))) if best else 0
        ps = [hypotheses.welch(draws[first].tolist(), draws[k].tolist()).p for k in range(count) if k != first]
        corrected = hypotheses.holm(ps, family=count * (count - 1) // 2 if best else None)
        return np.array([[0.05, float(min(corrected) < 0.05)]])

    return trial


def exact_tau(n: int) -> Trial:
    def trial(random: np.random.Generator) -> Array:
        first, second = random.standard_normal((2, n))
        return np.array([[0.05, float(ranks.permutation_p(first.tolist(), second.tolist()) <= 0.05)]])

    return trial


def detected(n_first: int, n_second: int, *, welch: bool = False) -> Trial:
    """Test the power at the smallest detectable difference, for the equal-variance t test or Welch's."""
    difference = power.smallest_detectable(1.0, n_first, n_second)
    degrees = n_first + n_second - 2
    quantile = float(stdtrit(degrees, 0.975))

    def trial(random: np.random.Generator) -> Array:
        first, second = difference + random.standard_normal(n_first), random.standard_normal(n_second)
        if welch:
            return np.array([[0.8, float(hypotheses.welch(first.tolist(), second.tolist()).p < 0.05)]])
        sd, _ = estimates.pooled_sd([first.tolist(), second.tolist()])
        t = (first.mean() - second.mean()) / (sd * np.sqrt(1.0 / n_first + 1.0 / n_second))
        return np.array([[0.8, float(abs(t) > quantile)]])

    return trial
