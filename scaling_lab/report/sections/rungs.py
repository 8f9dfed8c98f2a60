"""The rank correlation of AP at each evaluated epoch, or rung, with final AP.

Early stopping (successive halving) relies on it. The stopped trials are in the section Search.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scaling_lab.report.analysis.rung_ranks import LEAST, TOPS, correlations
from scaling_lab.report.figures.rungs_figure import rungs_figure
from scaling_lab.report.page.blocks import Bullets, Column, Figure, Section, Table, Text
from scaling_lab.report.sections.proxy_words import INTERVALS, middle_of, ranked
from scaling_lab.report.tables import records
from scaling_lab.stats.resampling import Ranked
from scaling_lab.text import plural

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs

TITLE = "How well early AP predicts final AP"


def rungs(runs: Runs, frontier: Frontier) -> Section:
    """Show the rank correlation of AP at each evaluated epoch before the last with final AP, over complete trials."""
    trials = frontier.trials
    if trials.empty:
        return Section(title=TITLE, blocks=())
    table = correlations(runs, frontier)
    if table.empty:
        return Section(title=TITLE, blocks=(Text(text=_nothing(trials), tone="note"),))
    figure = Figure(
        name="rungs",
        table=table,
        draw=rungs_figure,
        title="Rank correlation with final AP, by epoch",
        caption=f"Tau-b of AP at an epoch with AP at the end; shaded are {INTERVALS}, each with all its trials."
        + (" Squares are rungs, at which the study stops trials." if table["is_rung"].any() else ""),
        alt="Tau-b between AP at each evaluated epoch and final AP",
    )
    stopped = _stopped(runs, frontier)
    said = Bullets(items=(*_sentences(runs, table, stopped), _selection(stopped)))
    return Section(title=TITLE, blocks=(said, figure, _table(table)))


def where_stopped(runs: Runs, frontier: Frontier) -> Section:
    """Show the section for a study that stops trials early; no blocks for others."""
    return rungs(runs, frontier) if runs.meta.get("stopping") else Section(title=TITLE, blocks=())


# --- words -----------------------------------------------------------------------------------------------------------


def _nothing(trials: pd.DataFrame) -> str:
    if trials["architecture"].nunique() < LEAST:
        return (
            f"A rank correlation needs {LEAST} architectures with complete trials; this run has "
            f"{trials['architecture'].nunique()}."
        )
    if trials["ap"].nunique() < 2:
        return "All complete trials have the same AP, so nothing ranks them."
    return "AP was not evaluated before the last epoch, or for too few trials."


def _ranked(row: dict[str, Any], name: str, digits: int = 2) -> str:
    if name not in row:
        return "–"
    return ranked(Ranked(value=row[name], low=row[f"{name}_low"], high=row[f"{name}_high"]), digits)


def _sentences(runs: Runs, table: pd.DataFrame, stopped: int) -> list[tuple[str, str]]:
    """Return sentences on the first rung, or the first epoch without rungs."""
    row = records(table[table["is_rung"]] if table["is_rung"].any() else table)[0]
    rung = ", first rung" if row["is_rung"] else ""
    at = f"After {plural(int(row['epoch']), 'epoch')} ({100 * row['share']:.0f} % of training{rung}):"
    if math.isnan(row["tau"]):
        return [(at, "all trials have the same AP.")]
    count = f"{plural(int(row['trials']), 'trial')} of {plural(int(row['architectures']), 'architecture')}"
    found = [(at, f"tau-b {_ranked(row, 'tau')} with final AP, {count}.")]
    if not math.isnan(row["regret_1"]):
        found.append(("AP lost by stopping all but the best then:", f"{_ranked(row, 'regret_1', 1)}."))
    return [*found, _place(runs, row, stopped)]


def _stopped(runs: Runs, frontier: Frontier) -> int:
    """Count the trials of the same protocol that were stopped early."""
    trials = runs.table()
    same = trials["protocol"].isin(set(frontier.trials["protocol"])) & (trials["role"] == "search")
    return int((same & (trials["state"] == "stopped")).sum())


def _place(runs: Runs, row: dict[str, Any], stopped: int) -> tuple[str, str]:
    """Return the rank at an epoch of the trial that ends best, and whether the rule would continue it."""
    text = f"{int(row['place']):,} of {plural(int(row['trials']), 'complete trial')}"
    if row["is_rung"] and not stopped:
        factor = int(runs.meta["stopping"]["factor"])
        inside = row["place"] <= int(row["trials"]) // factor
        text += f", {'inside' if inside else 'outside'} the best 1/{factor}"
    return "Rank then of the trial that ends best:", f"{text}."


def _selection(stopped: int) -> tuple[str, str]:
    """Return whether stopped trials bias the correlation."""
    if stopped:
        return "Selection:", f"{plural(stopped, 'trial')} stopped early are missing, so the correlation is biased low."
    return "Selection:", "no trial was stopped early, so there is no such bias."


def _table(table: pd.DataFrame) -> Table:
    frame = table.copy()
    names = {"tau": 2, "spearman": 2} | {f"regret_{k}": 1 for k in TOPS}
    for name, digits in names.items():
        frame[f"{name}_text"] = [_ranked(row, name, digits) for row in records(table)]
        if name not in frame:
            frame[name] = np.nan
    frame["percent"] = 100 * frame["share"]
    frame["kind"] = ["rung" if is_rung else "" for is_rung in frame["is_rung"]]
    columns = [Column(key="epoch", label="Epoch", digits=0)]
    columns += [Column(key="kind", label="Rung")] if table["is_rung"].any() else []
    columns += [
        Column(key="percent", label="% of training", digits=0),
        Column(key="trials", label="Trials", digits=0),
        Column(key="tau_text", label="tau-b", sort="tau"),
        Column(key="spearman_text", label="Spearman", sort="spearman"),
        *(Column(key=f"regret_{k}_text", label=f"Regret, top {k}", sort=f"regret_{k}") for k in TOPS),
        Column(key="place", label="Place of the best", digits=0, help="at that epoch, of the trial that ends best"),
    ]
    return Table(
        name="rungs",
        frame=frame,
        columns=tuple(columns),
        caption=f"tau-b, Spearman: with {INTERVALS}, each with all its trials. "
        "Regret, top k: final AP lost by continuing only the best k at that epoch. "
        f"{middle_of(int(table['resamples'].min()))}",
    )
