"""How counted costs order detectors against their measured latency."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

from scaling_lab.metrics import COUNTED, METRICS
from scaling_lab.report.tables import records
from scaling_lab.stats import ranks, resampling

LEAST = 5  # detectors, for a correlation
MOST_SERIES = 8
MISLED = 8


def with_series(latencies: pd.DataFrame) -> pd.DataFrame:
    """Add `series`, a number for each value of `detector` (the space that it was drawn from); the many beyond 8 are -1."""
    names = list(dict.fromkeys(latencies["detector"]))
    numbers = {name: place if place < MOST_SERIES else -1 for place, name in enumerate(names)}
    return latencies.assign(series=[numbers[name] for name in latencies["detector"]])


def correlations(latencies: pd.DataFrame) -> pd.DataFrame:
    """Give tau-b and Spearman's rho of each cost with median_ms, over all detectors and within each space of 5 and more.

    low and high are the 95 % interval of tau-b (resampling.with_interval); `inverted` is the share of the pairs that
    differ in the cost in which the cheaper one is slower.
    """
    groups = [("all", latencies)]
    if latencies["detector"].nunique() > 1:
        groups += [(str(name), rows) for name, rows in latencies.groupby("detector", sort=False) if len(rows) >= LEAST]
    found = []
    for among, rows in groups:
        for cost in COUNTED:
            if rows[cost].nunique() < 2:
                continue
            values, times = rows[cost].to_numpy(dtype=float), rows["median_ms"].to_numpy(dtype=float)
            found_tau = resampling.with_interval(ranks.tau, values, times)
            found.append(
                {
                    "among": among,
                    "series": -1 if among == "all" else int(rows["series"].iloc[0]),
                    "detectors": len(rows),
                    "cost": cost,
                    "name": METRICS[cost].axis,
                    "tau": found_tau.value,
                    "low": found_tau.low,
                    "high": found_tau.high,
                    "rho": ranks.spearman(values, times),
                    "inverted": ranks.inverted_share(values, times),
                }
            )
    return pd.DataFrame(
        found, columns=["among", "series", "detectors", "cost", "name", "tau", "low", "high", "rho", "inverted"]
    )


def with_residuals(latencies: pd.DataFrame, correlated: pd.DataFrame) -> pd.DataFrame:
    """Add `slower`, median_ms over what a line through log latency and log GMACs gives, and the taus of all costs."""
    x, y = np.log(latencies["gmacs"].to_numpy(dtype=float)), np.log(latencies["median_ms"].to_numpy(dtype=float))
    slope = float(np.cov(x, y)[0, 1] / np.var(x, ddof=1)) if np.var(x) > 0 else 0.0
    residual = y - (y.mean() + slope * (x - x.mean()))
    taus = {f"{row['cost']}_tau": row["tau"] for row in records(correlated[correlated["among"] == "all"])}
    return latencies.assign(
        slower=np.exp(residual), **{f"{cost}_tau": taus.get(f"{cost}_tau", np.nan) for cost in COUNTED}
    )


def most_misled(latencies: pd.DataFrame, *, most: int = MISLED) -> pd.DataFrame:
    """Give pairs of which the one with fewer GMACs takes longer, the widest apart first; each detector in one pair."""
    rows = records(latencies[["description", "architecture", "gmacs", "median_ms"]])
    pairs = []
    for one, other in itertools.combinations(rows, 2):
        cheap, dear = sorted((one, other), key=lambda row: float(row["gmacs"]))
        if cheap["gmacs"] < dear["gmacs"] and cheap["median_ms"] > dear["median_ms"]:
            gap = np.log(dear["gmacs"] / cheap["gmacs"]) + np.log(cheap["median_ms"] / dear["median_ms"])
            pairs.append((float(gap), cheap, dear))
    taken: set[str] = set()
    found: list[dict[str, Any]] = []
    for _, cheap, dear in sorted(pairs, key=lambda pair: -pair[0]):
        if not {cheap["architecture"], dear["architecture"]} & taken and len(found) < most:
            taken |= {cheap["architecture"], dear["architecture"]}
            found.append(
                {
                    "cheaper": cheap["description"],
                    "dearer": dear["description"],
                    "gmacs_ratio": cheap["gmacs"] / dear["gmacs"],
                    "latency_ratio": cheap["median_ms"] / dear["median_ms"],
                }
            )
    return pd.DataFrame(found, columns=["cheaper", "dearer", "gmacs_ratio", "latency_ratio"])
