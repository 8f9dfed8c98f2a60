"""Rank agreement: Kendall's tau-b, Spearman's rho, partial tau, regret, and the tau that two repeats reach."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Values = Sequence[float] | Array

REPEATS, SEED = 1000, 0
MOST_NUMBERS, LEAST_REPEATS = 100_000, 20  # values times repeats, since the tau of many values varies little


def tau(first: Values, second: Values) -> float:
    """Return Kendall's tau-b; nan where either input is constant or has a missing value."""
    from scipy.stats import kendalltau  # takes half a second, which reports without ranks save

    if not (_varies(first) and _varies(second)):
        return math.nan
    if len(first) < 3:  # scipy's variance divides by n - 2
        return float(taus_with(np.asarray([first], dtype=float), second)[0])
    return float(kendalltau(first, second, method="asymptotic").statistic)  # skips the exact p, which would be slow


def spearman(first: Values, second: Values) -> float:
    """Return Spearman's rho; nan where either input is constant or has a missing value."""
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic) if _varies(first) and _varies(second) else math.nan


def _varies(values: Values) -> bool:
    return len(values) > 1 and float(np.ptp(np.asarray(values, dtype=float))) > 0.0


def taus_with(rows_BA: Array, fixed: Values) -> Array:
    """Return (B,) the tau-b of each row (B, A) with one fixed ranking (A,); nan where either is constant.

    It compares all pairs, for rows of at most a few dozen values.
    """
    first, second = np.triu_indices(rows_BA.shape[1], k=1)
    fixed_A = np.asarray(fixed, dtype=float)
    signs_P = np.sign(fixed_A[first] - fixed_A[second])
    signs_BP = np.sign(rows_BA[:, first] - rows_BA[:, second])
    pairs_B = np.abs(signs_BP).sum(axis=1) * np.abs(signs_P).sum()
    with np.errstate(invalid="ignore"):
        taus_B: Array = np.where(pairs_B > 0, (signs_BP * signs_P).sum(axis=1) / np.sqrt(pairs_B), math.nan)
    return taus_B


def permutation_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the exact two-sided p of tau-b over all orders of `second`, ties included; for at most 7 values (5,040 orders)."""
    taus = np.abs(taus_with(np.array(list(itertools.permutations(second))), first))
    return float((taus >= taus[0] - 1e-12).mean())


def partial_tau(first: Values, second: Values, given: Values) -> float:
    """Return Kendall's partial tau (1942): the tau of two rankings that a third, such as size, does not explain."""
    return float(partial_taus(tau(first, second), tau(first, given), tau(second, given)))


def partial_taus(both: Array | float, first: Array | float, second: Array | float) -> Array:
    """Return partial taus from the tau of two rankings and the tau of each with a third; nan where the third determines one."""
    rest = np.asarray((1.0 - np.square(first)) * (1.0 - np.square(second)))
    usable = rest > 1e-12
    return np.where(usable, (both - np.multiply(first, second)) / np.sqrt(np.where(usable, rest, 1.0)), math.nan)


def inverted_share(costs: Array, values: Array) -> float:
    """Return the share of pairs in opposite order in the two quantities, among pairs that differ in `costs`."""
    cost, value = np.subtract.outer(costs, costs), np.subtract.outer(values, values)
    return float((cost * value < 0).sum() / max(1, (cost != 0).sum()))


def noise_ceiling(
    means: Sequence[float], errors: Sequence[float], *, repeats: int | None = None, seed: int = SEED
) -> float:
    """Return the mean tau of two simulated repeats of one truth, the upper limit of a ranking with these standard errors.

    Measured means spread more than the truth, so the truth is shrunk towards their mean. The result is nan where no repeat
    has an order. Above a hundred values there are fewer than `REPEATS` repeats.
    """
    values, spread = np.asarray(means, dtype=float), np.asarray(errors, dtype=float)
    variance = float(np.var(values, ddof=1))
    kept = max(0.0, 1.0 - float((spread**2).mean()) / variance) if variance > 0 else 0.0
    truth = values.mean() + math.sqrt(kept) * (values - values.mean())
    random = np.random.default_rng(seed)
    repeats = repeats or min(REPEATS, max(LEAST_REPEATS, MOST_NUMBERS // max(1, len(values))))
    taus = [tau(truth + spread * random.standard_normal(len(truth)), truth + spread * random.standard_normal(len(truth)))
            for _ in range(repeats)]  # fmt: skip
    return float(np.nanmean(taus)) if not np.isnan(taus).all() else math.nan
