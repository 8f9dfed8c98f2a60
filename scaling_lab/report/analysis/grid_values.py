"""AP over the values of a grid, and the probability of each value to be the best."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from scaling_lab.report.tables import records
from scaling_lab.stats import posterior_fronts

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier

CREDIBLE = 0.95


def grid_table(frontier: Frontier, parameter: str, *, scale: str = "phi") -> pd.DataFrame:
    """Return a row for each value and scale: value, scale, architecture, n, AP with interval, costs, aps of the seeds."""
    columns = ["value", "scale", "architecture", "n", "ap_mean", "ap_low", "ap_high", "gmacs", "params_m", "aps"]
    trials = frontier.trials
    key = f"param_{parameter}"
    if trials.empty or key not in trials:
        return pd.DataFrame(columns=columns)
    scales = trials[f"param_{scale}"] if f"param_{scale}" in trials else pd.Series(0.0, index=trials.index)
    trials = trials.assign(value=pd.to_numeric(trials[key]), scale=scales)
    known = {str(row["architecture"]): row for row in records(frontier.architectures)}
    rows = []
    for (value, at, digest), group in trials.groupby(["value", "scale", "architecture"], sort=True):
        shown = {name: known[str(digest)][name] for name in ("n", "ap_mean", "ap_low", "ap_high", "gmacs", "params_m")}
        rows.append({"value": value, "scale": at, "architecture": digest, **shown, "aps": list(group["ap"])})
    return pd.DataFrame(rows, columns=columns)


def best_values(frontier: Frontier, table: pd.DataFrame) -> pd.DataFrame:
    """Return each value's probability of being the best; empty without repeated seeds or if a scale lacks a value."""
    whole = table.groupby("scale")["value"].nunique().eq(table["value"].nunique()).all()
    if frontier.degrees < 1 or not whole:
        return pd.DataFrame(columns=["value", "probability"])
    means_BA = frontier.means_of(table["architecture"].tolist())
    found = posterior_fronts.best_value(table["value"].tolist(), means_BA)
    return pd.DataFrame({"value": list(found), "probability": list(found.values())})


def chances_without_far_below(frontier: Frontier, parameter: str, *, scale: str = "phi") -> dict[float, float]:
    """Return each value's probability of being the best without outliers; empty if there are no outliers."""
    if not frontier.far_below[1].any():
        return {}
    rest = frontier.without_far_below
    return by_value(best_values(rest, grid_table(rest, parameter, scale=scale)))


def by_value(chances: pd.DataFrame) -> dict[float, float]:
    """Return the probabilities of `best_values` by value."""
    return {float(row["value"]): float(row["probability"]) for row in records(chances)}


def likeliest(chances: Mapping[float, float], share: float = CREDIBLE) -> list[float]:
    """Return the fewest values, sorted, whose probabilities of being the best sum to at least `share`."""
    ordered = sorted(chances, key=lambda value: -chances[value])
    sums = itertools.accumulate(chances[value] for value in ordered)
    enough = next((place for place, total in enumerate(sums, 1) if total >= share), len(ordered))
    return sorted(ordered[:enough])
