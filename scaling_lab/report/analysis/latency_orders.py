"""How well counted costs rank detectors by measured latency."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

from scaling_lab.metrics import COUNTED, METRICS
from scaling_lab.report.tables import records
from scaling_lab.stats import ranks, resampling

LEAST = 5  # detectors for a correlation
MOST_SERIES = 8
MISLED = 8  # pairs


def with_series(latencies: pd.DataFrame) -> pd.DataFrame:
    """Add `series`, a number for each value of `detector` (its search space); -1 beyond MOST_SERIES."""
    names = list(dict.fromkeys(latencies["detector"]))
    numbers = {name: place if place < MOST_SERIES else -1 for place, name in enumerate(names)}
    return latencies.assign(series=[numbers[name] for name in latencies["detector"]])


def correlations(latencies: pd.DataFrame) -> pd.DataFrame:
    """Return tau-b and Spearman's rho of each cost with median_ms, over all detectors and within each space of at least 5.

    low and high are the 95 % interval of tau-b (resampling.with_interval). `inverted` is the share of pairs of different
    cost in which the detector of lower cost is slower.
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
    """Add `slower`, the ratio of median_ms to a log-log fit on GMACs, and the taus of all costs."""
    x, y = np.log(latencies["gmacs"].to_numpy(dtype=float)), np.log(latencies["median_ms"].to_numpy(dtype=float))
    slope = float(np.cov(x, y)[0, 1] / np.var(x, ddof=1)) if np.var(x) > 0 else 0.0
    residual = y - (y.mean() + slope * (x - x.mean()))
    taus = {f"{row['cost']}_tau": row["tau"] for row in records(correlated[correlated["among"] == "all"])}
    return latencies.assign(
        slower=np.exp(residual), **{f"{cost}_tau": taus.get(f"{cost}_tau", np.nan) for cost in COUNTED}
    )


def most_misled(latencies: pd.DataFrame, *, most: int = MISLED) -> pd.DataFrame:
    """Return pairs in which the detector with fewer GMACs is slower, the largest gap first; each detector in one pair."""
    rows = records(latencies[["description", "architecture", "gmacs", "median_ms"]])
    pairs = []
    for one, other in itertools.combinations(rows, 2):
        fewer, more = sorted((one, other), key=lambda row: float(row["gmacs"]))
        if fewer["gmacs"] < more["gmacs"] and fewer["median_ms"] > more["median_ms"]:
            gap = np.log(more["gmacs"] / fewer["gmacs"]) + np.log(fewer["median_ms"] / more["median_ms"])
            pairs.append((float(gap), fewer, more))
    taken: set[str] = set()
    found: list[dict[str, Any]] = []
    for _, fewer, more in sorted(pairs, key=lambda pair: -pair[0]):
        if not {fewer["architecture"], more["architecture"]} & taken and len(found) < most:
            taken |= {fewer["architecture"], more["architecture"]}
            found.append(
                {
                    "fewer_gmacs": fewer["description"],
                    "more_gmacs": more["description"],
                    "gmacs_ratio": fewer["gmacs"] / more["gmacs"],
                    "latency_ratio": fewer["median_ms"] / more["median_ms"],
                }
            )
    return pd.DataFrame(found, columns=["fewer_gmacs", "more_gmacs", "gmacs_ratio", "latency_ratio"])
