"""The share of variance that each grouping explains (one-way analysis of variance), with bootstrap intervals and a chance level.

Shares are corrected for the number of groups (Kelley's epsilon squared, 1935): a grouping without effect has 0 on average.
Optuna's importances do not replace them: fANOVA and impurity decrease need scikit-learn; PED-ANOVA has another unit and no
interval. Interactions are not included. N is values, B resamples, P groupings, G groups of all groupings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES, PERMUTATIONS, SEED = 500, 999, 0
AT_ONCE = 2_000_000  # numbers in a block of resamples: 16 MB

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share of variance (0 to 1, up to noise) of n values in groups, with its 95 % interval."""

    n: int
    groups: int
    value: float
    low: float
    high: float


def shares(
    values: Sequence[float] | Array, groups: Mapping[str, Array], *, seed: int = SEED
) -> tuple[dict[str, Share], float]:
    """Return the share of the variance of values (N,) that each grouping explains, and the chance level of the largest share.

    A grouping (N,) numbers groups from 0; -1 leaves a value out. The chance level is the 95 % quantile of the
    largest share over permutations of the values (Westfall and Young, 1993). A share above it differs significantly from 0
    after correction for all groupings. All are nan where values or groups do not vary.
    """
    values_N = np.asarray(values, dtype=float)
    able = {name: codes_N for name, codes_N in groups.items() if _can_be_explained(values_N, codes_N)}
    found = {
        name: Share(n=int((codes_N >= 0).sum()), groups=int(codes_N.max(initial=-1)) + 1, **_NOTHING)
        for name, codes_N in groups.items()
    }
    if not able:
        return found, math.nan
    spread_N = ((values_N - values_N.mean()) / values_N.std()).astype(np.float32)
    chosen, n, random = _Groups.of(able), len(values_N), np.random.default_rng(seed)
    value_P = chosen.explain(np.ones((1, n), dtype=np.float32), spread_N[None])[0]
    resampled_BP = np.concatenate(
        [chosen.explain(_counts(random, size, n), spread_N[None]) for size in _blocks(RESAMPLES, n)]
    )
    chance_BP = np.concatenate(
        [
            chosen.explain(None, random.permuted(np.tile(spread_N, (size, 1)), axis=1))
            for size in _blocks(PERMUTATIONS, n)
        ]
    )
    # Repeated values in a resample inflate every share slightly, so the resamples are shifted back.
    low_P, high_P = np.quantile(resampled_BP - resampled_BP.mean(axis=0) + value_P, [0.025, 0.975], axis=0)
    for place, name in enumerate(able):
        numbers = {"value": float(value_P[place]), "low": float(low_P[place]), "high": float(high_P[place])}
        found[name] = Share(n=found[name].n, groups=found[name].groups, **numbers)
    return found, float(np.quantile(chance_BP.max(axis=1), 0.95))


_NOTHING = {"value": math.nan, "low": math.nan, "high": math.nan}


def _can_be_explained(values_N: Array, codes_N: Array) -> bool:
    own = values_N[codes_N >= 0]
    return len(own) > codes_N.max(initial=-1) + 1 > 1 and float(np.ptp(own)) > 1e-12


@dataclass(frozen=True, kw_only=True)
class _Groups:
    """Groupings as a membership matrix (N, G), the start of each grouping's groups, and the grouped values (N, P)."""

    members_NG: Array
    starts: Array
    grouped_NP: Array

    @classmethod
    def of(cls, groups: Mapping[str, Array]) -> _Groups:
        members = [codes_N[:, None] == np.arange(int(codes_N.max()) + 1) for codes_N in groups.values()]
        starts = np.cumsum([0, *(each.shape[1] for each in members[:-1])])
        grouped_NP = np.stack([codes_N >= 0 for codes_N in groups.values()], axis=1)
        matrix_NG = np.concatenate(members, axis=1).astype(np.float32)
        return cls(members_NG=matrix_NG, starts=starts, grouped_NP=grouped_NP.astype(np.float32))

    def explain(self, counts_BN: Array | None, values_BN: Array) -> Array:
        """Return the corrected shares (B, P) of values, each counted `counts_BN` times (None: once)."""
        weighted_BN = values_BN if counts_BN is None else counts_BN * values_BN
        number_BG = self.members_NG.sum(axis=0)[None] if counts_BN is None else counts_BN @ self.members_NG
        sum_BG = weighted_BN @ self.members_NG
        number_BP, sum_BP = (np.add.reduceat(each, self.starts, axis=1) for each in (number_BG, sum_BG))
        mean_BP = sum_BP**2 / np.maximum(number_BP, 1.0)
        total_BP = self._squares(weighted_BN * values_BN) - mean_BP
        between_BP = np.add.reduceat(sum_BG**2 / np.maximum(number_BG, 1.0), self.starts, axis=1) - mean_BP
        groups_BP = np.add.reduceat((number_BG > 0).astype(np.float32), self.starts, axis=1)
        left_BP = 1.0 - between_BP / np.maximum(total_BP, 1e-12)
        found: Array = 1.0 - left_BP * (number_BP - 1.0) / np.maximum(number_BP - groups_BP, 1.0)
        return found.astype(float)

    def _squares(self, squares_BN: Array) -> Array:
        """Return sums of squares by grouping (B, P); usually all groupings cover all values."""
        if self.grouped_NP.all():
            found: Array = squares_BN.sum(axis=1)[:, None]
            return found
        return squares_BN @ self.grouped_NP


def _blocks(draws: int, n: int) -> list[int]:
    size = max(1, AT_ONCE // n)
    return [min(size, draws - start) for start in range(0, draws, size)]


def _counts(random: np.random.Generator, draws: int, n: int) -> Array:
    """Return how often (B, N) each value is in a resample."""
    drawn_BN = random.integers(0, n, (draws, n)) + n * np.arange(draws)[:, None]
    return np.bincount(drawn_BN.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float32)


def without_cost(values: Sequence[float] | Array, logs: Sequence[float] | Array) -> tuple[Array, float]:
    """Return the residuals of values (N,) from a parabola in log cost, and its share of explained variance."""
    values_N, logs_N = np.asarray(values, dtype=float), np.asarray(logs, dtype=float)
    degree = min(2, len(np.unique(logs_N)) - 1)
    if degree < 1 or np.ptp(values_N) < 1e-12:
        return values_N - values_N.mean(), 0.0
    centred_N = (logs_N - logs_N.mean()) / np.ptp(logs_N)
    rest_N = values_N - np.polyval(np.polyfit(centred_N, values_N, degree), centred_N)
    return rest_N, 1.0 - float((rest_N**2).sum() / ((values_N - values_N.mean()) ** 2).sum())
