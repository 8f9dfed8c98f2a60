"""The section Search: how trials ended, and the search's progress, beside random search if that was run.

The random search of runs/<study> is runs/<study>-random: the same study with --sampler random. One search of each kind
does not show which is better.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from scaling_lab.report.analysis.frontier import Frontier
from scaling_lab.report.analysis.search_progress import progress, random_search
from scaling_lab.report.figures.search_figure import search_figure
from scaling_lab.report.page.blocks import Block, Column, Figure, Section, Table, Text
from scaling_lab.report.sections.provenance import warm_start
from scaling_lab.runs.reader import Runs
from scaling_lab.text import listed, plural

TITLE = "Search"


def search(runs: Runs, frontier: Frontier) -> Section:
    """Show how trials ended, and the progress of the search beside random search with the same budget."""
    trials = runs.table()
    searched = trials[trials["role"] == "search"]
    found: list[Block] = []
    if (searched["state"] == "stopped").any():
        found += [Text(text=_saved(searched)), how_trials_ended(searched)]
    random, why_not = random_search(runs)
    if random is not None or runs.meta.get("sampler", "grid") != "grid":
        found += _progress(runs, random, why_not)
    return Section(title=TITLE, blocks=tuple(found))


# --- how trials ended ------------------------------------------------------------------------------------------------


def how_trials_ended(trials: pd.DataFrame) -> Table:
    """Count trials by state, stopped ones by epoch."""
    rows = [_row(state, group) for state, group in trials.groupby("state", sort=False) if state != "stopped"]
    stopped = trials[trials["state"] == "stopped"].groupby("epochs_done")
    rows += [_row(f"stopped after {plural(int(str(epoch)), 'epoch')}", group) for epoch, group in stopped]
    return Table(
        name="how_trials_ended",
        frame=pd.DataFrame(rows),
        columns=(
            Column(key="ended", label="Trials of the search"),
            Column(key="trials", label="Number", digits=0),
            Column(key="epochs", label="Epochs trained", digits=0),
            Column(key="planned", label="Epochs planned", digits=0),
            Column(key="best", label="Highest AP", digits=1, help="of complete trials; a stopped one has none"),
        ),
        caption="Stopped trials fell behind others at that epoch, by the rule of early stopping; they are on no front.",
    )


def _row(ended: object, group: pd.DataFrame) -> dict[str, Any]:
    numbers = {"trials": len(group), "epochs": int(group["epochs_done"].sum()), "planned": int(group["epochs"].sum())}
    return {"ended": str(ended), **numbers, "best": group["ap"].max()}


def _saved(trials: pd.DataFrame) -> str:
    stopped = trials[trials["state"] == "stopped"]
    planned, saved = int(trials["epochs"].sum()), int((stopped["epochs"] - stopped["epochs_done"]).sum())
    return (
        f"{len(stopped)} of {plural(len(trials), 'trial')} were stopped early, which saved {saved:,} of {planned:,} epochs "
        f"({100 * saved / planned:.0f} %)."
    )


# --- progress beside random search -----------------------------------------------------------------------------------


def _progress(runs: Runs, random: Runs | None, why_not: str) -> list[Block]:
    named = {str(runs.meta.get("sampler")): runs} | ({"random": random} if random is not None else {})
    table = progress(named)
    if table.empty:
        return []
    what = table["quality"].iloc[0]
    caption = f"{what}, by ended trials of the search and by their total time."
    if runs.meta.get("warm_start"):
        caption += f" The search was warm-started from {warm_start(runs.meta)}."
    note = [Text(text=why_not, tone="note")] if why_not else []
    if random is not None:
        caption += " One search of each kind does not show which sampler is better."
        ended = {name: int((table["sampler"] == name).sum()) for name in named}
        note = [Text(text=_unequal(ended), tone="note")] if len(set(ended.values())) > 1 else []
    figure = Figure(
        name="search_progress",
        table=table,
        draw=search_figure,
        title="Progress of the search",
        caption=caption,
        alt=f"{what} by trials and by hours of {listed(list(named))} search",
    )
    return [figure, *note]


def _unequal(ended: dict[str, int]) -> str:
    counts = listed([f"{plural(number, 'trial')} of {name} search" for name, number in ended.items()])
    return f"Their budgets differ so far: {counts} have ended."
