"""How well the AP at each rung ranks the trials that ran to the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from scaling_lab.stats import ranks, resampling
from scaling_lab.stats.resampling import Ranked

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs

LEAST = 4  # trials and architectures for a rank correlation
MOST_EPOCHS = 5  # evaluated epochs shown besides the rungs; each takes a third of a second for 10,000 trials
TOPS = (1, 3, 5)


def correlations(runs: Runs, frontier: Frontier) -> pd.DataFrame:
    """Return a row for each epoch before the last with an AP of enough complete trials; empty if their final APs are equal.

    Columns: epoch, is_rung, share (of all epochs), trials, architectures, resamples, place (the best rank at that epoch of a
    trial that ends best), and tau, spearman, regret_1, regret_3 and regret_5 with _low and _high. The jackknife and the
    bootstrap take an architecture with all its trials.
    """
    trials = frontier.trials[["trial", "architecture", "ap", "epochs"]].rename(columns={"ap": "final"})
    epochs = runs.epochs()
    if "ap" not in epochs or trials["final"].nunique() < 2:
        return pd.DataFrame()
    early = epochs[["trial", "epoch", "ap"]].dropna().merge(trials, on="trial")
    early = early[early["epoch"] < early["epochs"]]
    groups = {int(str(epoch)): group for epoch, group in early.groupby("epoch") if _is_enough(group)}
    stops = rung_epochs(runs, int(trials["epochs"].iloc[0]))
    shown = _spread([epoch for epoch in groups if epoch not in stops], MOST_EPOCHS)
    return pd.DataFrame([_row(epoch, groups[epoch], stops) for epoch in groups if epoch in stops or epoch in shown])


def rung_epochs(runs: Runs, epochs: int) -> tuple[int, ...]:
    """Return the rungs of successive halving below `epochs`: min_epochs, times factor, and so on."""
    stopping = runs.meta.get("stopping") or {}
    found, epoch = [], int(stopping["min_epochs"]) if "factor" in stopping else epochs
    while epoch < epochs:
        found.append(epoch)
        epoch *= int(stopping["factor"])
    return tuple(found)


def _is_enough(group: pd.DataFrame) -> bool:
    return len(group) >= LEAST and group["architecture"].nunique() >= LEAST and group["final"].nunique() > 1


def _spread(epochs: list[int], most: int) -> set[int]:
    """Return `most` of the epochs, evenly spaced, including the first and the last."""
    if len(epochs) <= most:
        return set(epochs)
    return {epochs[round(place * (len(epochs) - 1) / (most - 1))] for place in range(most)}


def _row(epoch: int, group: pd.DataFrame, stops: tuple[int, ...]) -> dict[str, Any]:
    group = group.sort_values("trial")  # ties in AP keep the order of trials
    early, final = group["ap"].to_numpy(dtype=float), group["final"].to_numpy(dtype=float)
    architectures = list(group["architecture"])
    count = len(set(architectures))
    parts_BA, drawn_AB = resampling.leave_out(architectures), resampling.resample(architectures)
    lost = resampling.regrets(early, final, drawn_AB, [k for k in TOPS if k < len(group)])
    statistics: dict[str, Ranked] = {
        name: resampling.jackknifed(statistic, resampling.of_parts(statistic, parts_BA, early, final), count)
        for name, statistic in (("tau", ranks.tau), ("spearman", ranks.spearman))
    }
    statistics |= {f"regret_{k}": resampling.middle(lost_B) for k, lost_B in lost.items()}
    row: dict[str, Any] = {"epoch": epoch, "is_rung": epoch in stops, "share": epoch / int(group["epochs"].iloc[0])}
    row |= {"trials": len(group), "architectures": count, "resamples": drawn_AB.shape[1] - 1}
    best = early[final == final.max()].max()
    row["place"] = int((early > best).sum()) + 1
    for name, found in statistics.items():
        row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return row
