"""How early AP shows how trials will end: rank correlation of AP at each evaluated epoch, or rung, with final AP.

It reads what early stopping (successive halving) would have gone by; whom it stopped is in the search's section.
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

TITLE = "How early AP tells how a trial will end"


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
    """Show the same of a study that stops trials early, which bets on it; nothing of any other."""
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
    return "AP was measured at no epoch before the last, or of too few trials to rank them."


def _ranked(row: dict[str, Any], name: str, digits: int = 2) -> str:
    if name not in row:
        return "–"
    return ranked(Ranked(value=row[name], low=row[f"{name}_low"], high=row[f"{name}_high"]), digits)


def _sentences(runs: Runs, table: pd.DataFrame, stopped: int) -> list[tuple[str, str]]:
    """Say what the first of the epochs, or of the rungs, tells."""
    row = records(table[table["is_rung"]] if table["is_rung"].any() else table)[0]
    at = f"After {plural(int(row['epoch']), 'epoch')} ({100 * row['share']:.0f} % of the training)"
    if row["is_rung"]:
        at = f"At the first rung, after {plural(int(row['epoch']), 'epoch')} ({100 * row['share']:.0f} % of the training),"
    if math.isnan(row["tau"]):
        return [(at, "all trials have the same AP, which tells nothing yet.")]
    text = (
        f"AP has a tau-b of {_ranked(row, 'tau')} with final AP, over {plural(int(row['trials']), 'complete trial')} of "
        f"{plural(int(row['architectures']), 'architecture')}"
    )
    if math.isnan(row["tau_low"]):
        text += ", without an interval, so that nothing can be claimed from it"
    if not math.isnan(row["regret_1"]):
        text += f"; the best at that epoch ends {_ranked(row, 'regret_1', 1)} AP below the best at the end"
        text += " (in brackets the middle 95 % over resampled architectures: how much that hangs on single ones)"
    return [(at, f"{text}."), _place(runs, row, stopped)]


def _stopped(runs: Runs, frontier: Frontier) -> int:
    """Count the trials of the same protocol that were stopped early."""
    trials = runs.table()
    same = trials["protocol"].isin(set(frontier.trials["protocol"])) & (trials["role"] == "search")
    return int((same & (trials["state"] == "stopped")).sum())


def _place(runs: Runs, row: dict[str, Any], stopped: int) -> tuple[str, str]:
    """Say where the trial that ends best stands at an epoch, and whether the rule would let it go on."""
    text = f"is then number {int(row['place']):,} of {plural(int(row['trials']), 'complete trial')}"
    if row["is_rung"] and not stopped:
        factor = int(runs.meta["stopping"]["factor"])
        inside = row["place"] <= int(row["trials"]) // factor
        text += f", {'among' if inside else 'not among'} the best 1/{factor} by AP alone"
    return "The trial that ends best", f"{text}."


def _selection(stopped: int) -> tuple[str, str]:
    """Say whether trials were stopped by the AP whose worth is measured here."""
    lead = "Over whom."
    if stopped:
        return lead, (
            f"{plural(stopped, 'trial')} {'was' if stopped == 1 else 'were'} stopped early and "
            f"{'has' if stopped == 1 else 'have'} no final AP, so this is over the survivors, whom the same AP has chosen: "
            "they are alike, which lowers the correlation, and what was stopped wrongly does not show. Trials that all run to "
            "their end would tell."
        )
    return (
        lead,
        "No trial was stopped early, so early AP has chosen none of these: the correlation is not biased by that.",
    )


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
        "Regret: final AP lost by going on with only so many of the best at that epoch, and taking the best of them. "
        f"{middle_of(int(table['resamples'].min()))}",
    )
