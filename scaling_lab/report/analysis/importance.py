"""How much of the spread of a result each choice explains: shares of variance with intervals and what chance would give.

A share is that of a one-way analysis of variance, corrected for the number of groups (Kelley's epsilon squared, 1935), so that a
choice without effect has 0 on average, however many values it has. Of optuna's importances, fANOVA and the decrease of impurity
need scikit-learn, and PED-ANOVA tells what leads into the best tenth, in a unit of its own and without an interval; what a
reader of a population asks is the share. Shares are of single choices: what two do only together is in neither. It reads no
tables of runs. N is architectures, B draws, P choices, G groups of all choices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

RESAMPLES, PERMUTATIONS, SEED = 500, 999, 0
AT_ONCE = 2_000_000  # numbers of a block of draws: 16 MB
MOST_GROUPS = 6  # a number with more values is cut
CUTS = 5
RARE = 4  # values with fewer architectures are one group

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share of variance, 0 to 1 but for noise, of n architectures in so many groups, with its 95 % interval."""

    n: int
    groups: int
    value: float
    low: float
    high: float


def grouped(values: pd.Series[Any]) -> Array:
    """Give the group (N,) of each value from 0 up, -1 where there is none.

    A number with more than MOST_GROUPS values is cut at its quintiles; rare values of anything else are one group.
    """
    present = values.dropna().infer_objects()
    numbers = pd.api.types.is_numeric_dtype(present) and not pd.api.types.is_bool_dtype(present)
    codes_N, distinct = pd.factorize(
        values.astype(float) if numbers else values.map(str, na_action="ignore"), sort=True
    )
    if numbers and len(distinct) > MOST_GROUPS:
        codes_N = pd.qcut(values.astype(float), CUTS, labels=False, duplicates="drop").fillna(-1).to_numpy(dtype=int)
    counts = np.bincount(codes_N[codes_N >= 0], minlength=1)
    rare_N = (codes_N >= 0) & (counts[codes_N] < RARE)
    found_N = np.where(rare_N, len(counts), codes_N)
    kept = [group for group in range(len(counts) + 1) if (found_N == group).sum() >= RARE]
    places = {group: place for place, group in enumerate(kept)}
    return np.array([places.get(int(group), -1) for group in found_N], dtype=int)


def shares(
    values: Sequence[float] | Array, groups: Mapping[str, Array], *, seed: int = SEED
) -> tuple[dict[str, Share], float]:
    """Give the share of the variance of values (N,) that each grouping (N,) explains, and what the best has by chance.

    A grouping counts for the architectures that it groups. Chance is the 95 % quantile of the largest of all shares when the
    values are exchanged between architectures (Westfall and Young, 1993): above it a share is distinguishable from none, also
    as one of many. All are nan where there is nothing to explain.
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
    # A resample counts architectures twice, which every choice seems to explain a little of: the draws are moved back.
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
    """Groupings as one matrix of members (N, G), where each grouping's groups start, and who is grouped (N, P)."""

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
        """Give the corrected shares (B, P) of values, each counted so many times (None: once)."""
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
        """Add up squares by grouping (B, P); most runs have choices that all architectures have."""
        if self.grouped_NP.all():
            found: Array = squares_BN.sum(axis=1)[:, None]
            return found
        return squares_BN @ self.grouped_NP


def _blocks(draws: int, n: int) -> list[int]:
    size = max(1, AT_ONCE // n)
    return [min(size, draws - start) for start in range(0, draws, size)]


def _counts(random: np.random.Generator, draws: int, n: int) -> Array:
    """Draw how often (B, N) each architecture is in a resample."""
    drawn_BN = random.integers(0, n, (draws, n)) + n * np.arange(draws)[:, None]
    return np.bincount(drawn_BN.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float32)


def without_cost(values: Sequence[float] | Array, logs: Sequence[float] | Array) -> tuple[Array, float]:
    """Give what is left of values (N,) once a parabola in the log of the cost is taken out, and the share that it explained."""
    values_N, logs_N = np.asarray(values, dtype=float), np.asarray(logs, dtype=float)
    degree = min(2, len(np.unique(logs_N)) - 1)
    if degree < 1 or np.ptp(values_N) < 1e-12:
        return values_N - values_N.mean(), 0.0
    centred_N = (logs_N - logs_N.mean()) / np.ptp(logs_N)
    rest_N = values_N - np.polyval(np.polyfit(centred_N, values_N, degree), centred_N)
    return rest_N, 1.0 - float((rest_N**2).sum() / ((values_N - values_N.mean()) ** 2).sum())
