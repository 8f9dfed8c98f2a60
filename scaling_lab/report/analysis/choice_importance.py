"""How much of the variance of AP over a space each choice explains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from scaling_lab.report.analysis.architecture_names import SPELLINGS
from scaling_lab.stats import variance_shares
from scaling_lab.stats.variance_shares import Array

MOST_GROUPS = 6  # a numeric choice with more values is cut into CUTS groups
CUTS = 5
RARE = 4  # values with fewer architectures are one group


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How much of the variance of AP each choice explains.

    `table` has a row for each choice, the largest share first. share, low and high are fractions of the variance of AP.
    rest, rest_low and rest_high are fractions of the residual variance after a parabola in log GMACs. n and groups are counts.
    `chance` and `rest_chance` are the 95 % quantiles of the best choice's share under permutation. `cost` is the
    parabola's share.
    """

    table: pd.DataFrame
    chance: float
    rest_chance: float
    cost: float


def params_of(table: pd.DataFrame) -> list[str]:
    """Return the columns of the parameters with at least two values, in the space's order."""
    return [str(name) for name in table.columns if str(name).startswith("param_") and table[name].nunique() > 1]


def name_of(param: str) -> str:
    """Return a parameter's name in words from its column."""
    return param.removeprefix("param_").replace("_", " ")


def texts(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return values as text, integers without a decimal point; missing values stay missing."""
    return values.map(lambda value: f"{value:g}" if isinstance(value, float) else str(value), na_action="ignore")


def label_of(value: str) -> str:
    """Return a value as text, with a feature network's name spelt as in the paper."""
    return SPELLINGS.get(value, value.replace("_", " "))


def grouped(values: pd.Series[Any]) -> Array:
    """Return the group (N,) of each value, counted from 0; -1 for none.

    A numeric choice with more than MOST_GROUPS values is cut at its quintiles. Rare values of other choices form one group.
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


def choice_importance(table: pd.DataFrame) -> Importance:
    """Compute how much of the variance of AP each choice of the space explains (table: ap, gmacs, param_*)."""
    params = params_of(table)
    groups = {param: grouped(table[param]) for param in params}
    aps = table["ap"].to_numpy(dtype=float)
    rest, cost = variance_shares.without_cost(aps, np.log(table["gmacs"].to_numpy(dtype=float)))
    whole, chance = variance_shares.shares(aps, groups)
    left, rest_chance = variance_shares.shares(rest, groups)
    rows = []
    for param in params:
        of_all, of_rest = whole[param], left[param]
        row: dict[str, Any] = {"choice": name_of(param), "n": of_all.n, "groups": of_all.groups}
        row |= {"share": of_all.value, "low": of_all.low, "high": of_all.high}
        rows.append(row | {"rest": of_rest.value, "rest_low": of_rest.low, "rest_high": of_rest.high})
    columns = ["choice", "n", "groups", "share", "low", "high", "rest", "rest_low", "rest_high"]
    found = pd.DataFrame(rows, columns=columns).sort_values("share", ascending=False, kind="stable")
    return Importance(table=found.reset_index(drop=True), chance=chance, rest_chance=rest_chance, cost=cost)
