"""The points of scaled families and the laws fitted to them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scaling_lab.report.tables import is_missing, records
from scaling_lab.stats.scaling_law import LEAST, band, fit_law

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier

NEXT = 2.0  # cost of the next model over the highest cost
CURVE_POINTS = 60


def family_points(frontier: Frontier, family: str | None) -> pd.DataFrame:
    """Return a row for each architecture: family, series (of the family), label, gmacs, ap_mean, ap_low, ap_high, n."""
    columns = ["architecture", "label", "gmacs", "ap_mean", "ap_low", "ap_high", "n"]
    table = frontier.architectures
    if table.empty:
        return pd.DataFrame(columns=["family", "series", *columns])
    families = {str(digest): "all" for digest in table["architecture"]}
    if family is not None and f"param_{family}" in frontier.trials:
        first = frontier.trials.drop_duplicates("architecture")
        families = {str(row["architecture"]): _family(row[f"param_{family}"], family) for row in records(first)}
    names = [families[str(digest)] for digest in table["architecture"]]
    order = {name: place for place, name in enumerate(sorted(set(names)))}
    points = table[columns].assign(family=names, series=[order[name] for name in names])
    return points.sort_values(["family", "gmacs"], kind="stable").reset_index(drop=True)


def _family(value: object, parameter: str) -> str:
    return f"no {parameter}" if is_missing(value) else str(value)


def law_curves(points: pd.DataFrame, pooled: tuple[float, int] = (math.nan, 0)) -> pd.DataFrame:
    """Fit a law to each family of at least four costs: family, series, gmacs, ap_law, low, high, up to NEXT times its costs.

    `points` are those of family_points. `pooled` is the seeds' (SD, degrees of freedom); without it a law has no interval.
    """
    found = [
        law_curve(group, pooled)
        for _, group in points.groupby("family", sort=False)
        if group["gmacs"].nunique() >= LEAST
    ]
    empty = pd.DataFrame(columns=["gmacs", "ap_law", "low", "high", "family", "series"])
    return pd.concat(found, ignore_index=True) if found else empty


def law_curve(group: pd.DataFrame, pooled: tuple[float, int]) -> pd.DataFrame:
    """Fit a law to one family and return it as a curve."""
    costs, values, seeds = group["gmacs"].tolist(), group["ap_mean"].tolist(), group["n"].tolist()
    grid = np.geomspace(min(costs), NEXT * max(costs), CURVE_POINTS)
    curve = pd.DataFrame(
        {"gmacs": grid, "ap_law": fit_law(costs, values, seeds)(grid), "low": math.nan, "high": math.nan}
    )
    if pooled[1] > 0:
        curve["low"], curve["high"] = band(costs, values, grid, seeds=seeds, pooled=pooled)
    first = group.iloc[0]
    return curve.assign(family=first["family"], series=int(first["series"]))
