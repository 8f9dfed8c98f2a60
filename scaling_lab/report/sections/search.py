"""The section Search: what became of the trials, and how fast the search got ahead, beside random search where that was run.

The random search of runs/<study> is runs/<study>-random: the same study, run with --sampler random. Only what both have
in common is compared; one search of each kind says nothing of which is better.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from scaling_lab.report.analysis.frontier import Frontier
from scaling_lab.report.figures.search_figure import search_figure
from scaling_lab.report.page.blocks import Block, Column, Figure, Section, Table, Text
from scaling_lab.runs.reader import ENDED, Runs
from scaling_lab.stats import fronts, hypervolume
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
    """Count trials by state, and those that were stopped by the epoch at which they were."""
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
        caption="Stopped trials fell behind others at that epoch (successive halving); they are on no front.",
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


def random_search(runs: Runs) -> tuple[Runs | None, str]:
    """Give the run of random search beside this one, or None and why there is none to compare with."""
    path = runs.path.resolve().with_name(f"{runs.path.resolve().name}-random")
    if runs.meta.get("sampler") == "random":
        return None, ""
    if not path.is_dir():
        form = f" --form {runs.meta['form']}" if runs.meta.get("form") else ""
        command = f"scaling-lab run {runs.meta.get('study_file')}{form} --sampler random"
        return (
            None,
            f"Random search with the same budget is what this is to be held against: {command} writes {path.name}.",
        )
    random = Runs(path)
    for name in ("protocol", "objectives", "limits", "space"):
        if random.meta.get(name) != runs.meta.get(name):
            return None, f"{path.name} has another {name}, so it is not compared with this."
    return random, ""


def _progress(runs: Runs, random: Runs | None, why_not: str) -> list[Block]:
    named = {str(runs.meta.get("sampler")): runs} | ({"random": random} if random is not None else {})
    table = progress(named)
    if table.empty:
        return []
    what = table["quality"].iloc[0]
    caption = f"{what}, after each trial of the search that ended, and against the time that its trials took in all."
    note = [Text(text=why_not, tone="note")] if why_not else []
    if random is not None:
        caption += " One search of each kind: which sampler is better cannot be told from this."
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


def progress(named: dict[str, Runs]) -> pd.DataFrame:
    """Give a row for each ended trial of each search, in their order: sampler, trials and hours so far, and value.

    With one objective the value is the best result so far. With several it is the hypervolume that complete trials
    dominate, in per cent of what those of all the searches do together; it is measured from the worst value of each
    objective that any of them has.
    """
    objectives: dict[str, str] = next(iter(named.values())).meta["objectives"]
    signs = np.array([-1.0 if way == "maximize" else 1.0 for way in objectives.values()])
    ended = {name: _ended(runs, list(objectives)) for name, runs in named.items()}
    points = {name: table[list(objectives)].to_numpy(dtype=float) * signs for name, table in ended.items()}
    complete = np.concatenate([each[~np.isnan(each).any(axis=1)] for each in points.values()])
    if not len(complete):
        return pd.DataFrame()
    worst = complete.max(axis=0)
    if len(objectives) == 1:
        quality = f"{'Highest' if signs[0] < 0 else 'Lowest'} {next(iter(objectives))}"
    else:
        quality = f"Hypervolume of {listed(list(objectives))}, % of all that was found"
    rows = []
    for name, table in ended.items():
        values = signs[0] * _best(points[name]) if len(objectives) == 1 else _volumes(points[name], worst, complete)
        so_far = {"trials": range(1, len(table) + 1), "hours": table["seconds"].cumsum() / 3600, "value": values}
        rows.append(pd.DataFrame({"sampler": name, "trial": table["trial"], **so_far, "quality": quality}))
    return pd.concat(rows, ignore_index=True)


def _ended(runs: Runs, objectives: list[str]) -> pd.DataFrame:
    """Give the search's ended trials in the order in which they ended; those that are not complete have no values."""
    table = runs.table()
    table = table[
        (table["role"] == "search") & table["state"].isin(ENDED) & (table["protocol"] == runs.meta["protocol"])
    ]
    values = table[objectives].where(table["state"] == "complete")
    ended: pd.DataFrame = table[["trial", "ended", "seconds"]].join(values)
    return ended.sort_values(["ended", "trial"], kind="stable").reset_index(drop=True)


def _best(points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.fmin.accumulate(points[:, 0])


def _volumes(
    points: np.ndarray[Any, Any], worst: np.ndarray[Any, Any], all_of_them: np.ndarray[Any, Any]
) -> list[float]:
    whole = hypervolume.dominated_volume(fronts.front_of(all_of_them.tolist()), worst.tolist()) or 1.0
    front: list[list[float]] = []
    found, volume = [], 0.0
    for point in points.tolist():
        if not np.isnan(point).any() and not any(
            all(a <= b for a, b in zip(each, point, strict=True)) for each in front
        ):
            front = fronts.front_of([*front, point])
            volume = hypervolume.dominated_volume(front, worst.tolist())
        found.append(100.0 * volume / whole)
    return found
