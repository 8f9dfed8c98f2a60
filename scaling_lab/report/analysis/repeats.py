"""Architectures that several runs trained: whether their APs agree.

Architecture and protocol are equal, so a difference is chance or something that the protocol does not record: the device,
a library, the code. Training runs with equal seeds may be identical, so they are not independent repeats.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from scaling_lab.report.analysis import verdicts
from scaling_lab.stats import estimates, hypotheses

LEAST_OFFSET = 3  # architectures for a mean difference with an interval
SAME = "the same training runs"

_COLUMNS = [
    "label",
    "architecture",
    "first",
    "other",
    "n_first",
    "n_other",
    "ap_first",
    "ap_other",
    "difference",
    "low",
]
_COLUMNS += ["high", "p", "p_holm", "verdict"]


def repeats(trials: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """Return a row for each architecture that two runs have, by label: means, difference, Welch's interval and p, verdict.

    `trials` has run, architecture, seed and ap. The difference is first minus other. p_holm is corrected over all rows;
    rows with equal seeds and APs on both sides are not tested.
    """
    values = {run: _training_runs(group) for run, group in trials.groupby("run", sort=False)}
    rows: list[dict[str, Any]] = []
    for first, other in itertools.combinations(values, 2):
        here, there = values[first], values[other]
        for digest in (digest for digest in here if digest in there):
            row = {"label": labels[digest], "architecture": digest, "first": first, "other": other}
            rows.append(row | _compared(here[digest], there[digest]))
    table = pd.DataFrame(rows, columns=_COLUMNS)
    table["p_holm"] = hypotheses.holm([float(p) for p in table["p"]])
    table["verdict"] = [
        verdict or verdicts.verdict(p) for verdict, p in zip(table["verdict"], table["p_holm"], strict=True)
    ]
    return table.sort_values(["label", "first", "other"], kind="stable").reset_index(drop=True)


def same_seeds(trials: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each two runs that trained an architecture with the same seed.

    Columns: first, other, training_runs (their number), identical (those with equal AP) and largest (difference in AP).
    """
    by_run = {run: group[["architecture", "seed", "ap"]] for run, group in trials.groupby("run", sort=False)}
    rows = []
    for first, other in itertools.combinations(by_run, 2):
        both = by_run[first].merge(by_run[other], on=["architecture", "seed"], suffixes=("_first", "_other"))
        apart = (both["ap_first"] - both["ap_other"]).abs()
        row = {"first": first, "other": other, "training_runs": len(both), "identical": int((apart == 0).sum())}
        rows += [row | {"largest": float(apart.max())}] if len(both) else []
    return pd.DataFrame(rows, columns=["first", "other", "training_runs", "identical", "largest"])


def offsets(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean difference of two runs over the architectures of `repeats`, each weighted equally.

    Columns: first, other, architectures, mean, low, high, verdict. Intervals are simultaneous at 95 % for all pairs of runs
    (Bonferroni).
    """
    tested = table[table["verdict"] != SAME]
    groups = [
        (pair, group) for pair, group in tested.groupby(["first", "other"], sort=False) if len(group) >= LEAST_OFFSET
    ]
    rows = []
    for (first, other), group in groups:
        differences = [float(value) for value in group["difference"]]
        found = estimates.estimate(differences, confidence=1.0 - hypotheses.LEVEL / len(groups))
        verdict = verdicts.interval_verdict(found.low, found.high)
        row = {"first": first, "other": other, "architectures": found.n, "mean": found.mean}
        rows.append(row | {"low": found.low, "high": found.high, "verdict": verdict})
    return pd.DataFrame(rows, columns=["first", "other", "architectures", "mean", "low", "high", "verdict"])


def _training_runs(trials: pd.DataFrame) -> dict[str, list[tuple[int, float]]]:
    """Return each architecture's (seed, AP), in order."""
    found: dict[str, list[tuple[int, float]]] = {}
    for digest, seed, ap in zip(trials["architecture"], trials["seed"], trials["ap"], strict=True):
        found.setdefault(str(digest), []).append((int(seed), float(ap)))
    return {digest: sorted(each) for digest, each in found.items()}


def _compared(first: list[tuple[int, float]], other: list[tuple[int, float]]) -> dict[str, Any]:
    result = hypotheses.welch([ap for _, ap in first], [ap for _, ap in other])
    same = first == other
    numbers = {"n_first": len(first), "n_other": len(other), "difference": result.difference}
    means = {"ap_first": _mean(first), "ap_other": _mean(other)}
    tested = (
        {"low": result.low, "high": result.high, "p": result.p}
        if not same
        else dict.fromkeys(("low", "high", "p"), math.nan)
    )
    return {**numbers, **means, **tested, "verdict": SAME if same else ""}


def _mean(training_runs: list[tuple[int, float]]) -> float:
    return sum(ap for _, ap in training_runs) / len(training_runs)
