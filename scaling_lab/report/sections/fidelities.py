"""Trials that cannot be compared with the others, for other epochs, another protocol or an early stop, as faint marks.

A front is of one fidelity. These trials are on none and in no interval; they are shown so that nobody misses them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.figure import Figure as MatplotlibFigure

from scaling_lab.report.figures import cost_figures
from scaling_lab.report.figures.cost_marks import Marks, Overlay
from scaling_lab.report.figures.style import WIDE
from scaling_lab.report.page import blocks
from scaling_lab.report.tables import records
from scaling_lab.text import plural

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs

MARKERS = ("x", "+", "1", "2", "3", "4")
OTHERS = "."
COLUMNS = ("trial", "label", "architecture", "seed", "gmacs", "ap", "state", "epochs", "protocol", "fidelity")


def fidelity_words(epochs: int, protocol: str, *, planned: int | None = None) -> str:
    """Name a fidelity: "12 epochs, protocol ab12cd", or "stopped after 2 of 12 epochs, protocol ab12cd"."""
    length = plural(epochs, "epoch") if planned is None else f"stopped after {epochs} of {plural(planned, 'epoch')}"
    return f"{length}, protocol {protocol[:6]}"


def other_trials(runs: Runs, frontier: Frontier) -> pd.DataFrame:
    """Give a row for each trial with an AP that is not compared: complete ones of other fidelities, and stopped ones.

    A stopped trial has the AP of its last evaluated epoch, and that epoch in `epochs`. `fidelity` is in words; the most
    frequent comes first.
    """
    found = frontier.excluded.assign(
        fidelity=[fidelity_words(int(row["epochs"]), str(row["protocol"])) for row in records(frontier.excluded)]
    )
    table = pd.concat([part for part in (found, _stopped(runs, frontier)) if len(part)] or [found], ignore_index=True)
    if table.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    counts = table["fidelity"].map(table["fidelity"].value_counts())
    return table.assign(count=counts).sort_values(["count", "fidelity", "trial"], ascending=[False, True, True])[
        list(COLUMNS)
    ]


def _stopped(runs: Runs, frontier: Frontier) -> pd.DataFrame:
    last = runs.stopped_aps()
    if last.empty:
        return last
    table = runs.table().drop(columns="ap").merge(last, on="trial")
    names = [
        fidelity_words(int(row["epoch"]), str(row["protocol"]), planned=int(row["epochs"])) for row in records(table)
    ]
    labels = [frontier.labels.get(digest, str(digest)) for digest in table["architecture"]]
    return table.assign(fidelity=names, label=labels, epochs=table["epoch"])


def fidelity_blocks(runs: Runs, frontier: Frontier, table: pd.DataFrame, band: pd.DataFrame) -> list[blocks.Block]:
    """Give AP against GMACs once more with the trials of other fidelities; nothing where there are none.

    `table` is the figure's of the compared trials, a row for each, and `band` where their front may lie.
    """
    others = other_trials(runs, frontier)
    if others.empty:
        return []
    first = frontier.trials.iloc[0]
    main = fidelity_words(int(first["epochs"]), str(first["protocol"]))
    counts = others["fidelity"].value_counts(sort=False)
    named = [f"{name} ({plural(int(count), 'trial')})" for name, count in counts.items()]
    more = (
        [plural(len(named) - len(MARKERS), "other fidelity", "other fidelities")] if len(named) > len(MARKERS) else []
    )
    caption = (
        f"Marks and front are of {main}, as above. Faint marks are of other fidelities, whose APs cannot be compared with "
        f"these: {'; '.join(named[: len(MARKERS)] + more)}. They are on no front and in no interval; a stopped trial's AP is "
        "that of its last evaluated epoch."
    )
    return [
        blocks.Figure(
            name="ap_against_gmacs_fidelities",
            table=pd.concat([table.assign(fidelity=main, compared=True), _as_rows(others)], ignore_index=True),
            draw=functools.partial(fidelity_figure, band=band),
            title="AP against multiply-adds, with what cannot be compared",
            caption=caption,
            alt=f"AP against GMACs with the Pareto front, and {plural(len(others), 'trial')} of other fidelities, faint",
        )
    ]


def _as_rows(others: pd.DataFrame) -> pd.DataFrame:
    """Give the other trials as rows of the figure's table: each for itself, on no front."""
    alone: dict[str, Any] = {"ap_mean": float("nan"), "ap_low": float("nan"), "ap_high": float("nan")}
    rows = others[["label", "architecture", "trial", "seed", "gmacs", "ap", "fidelity"]]
    return rows.assign(n=1, **alone, on_front=False, series=-1, compared=False)


def fidelity_figure(table: pd.DataFrame, width: float = WIDE, *, band: pd.DataFrame | None = None) -> MatplotlibFigure:
    """Draw cost_figures.cost_figure of the rows that are `compared`, and the others faintly with a marker for each fidelity."""
    compared, others = table[table["compared"]], table[~table["compared"]]
    many = len(table) > cost_figures.MANY_POINTS
    names = list(dict.fromkeys(others["fidelity"]))
    marks = [
        Marks(name=name, points=others[others["fidelity"] == name], marker=marker, many=many)
        for name, marker in zip(names, MARKERS, strict=False)
    ]
    rest = names[len(MARKERS) :]
    if rest:
        points = others[others["fidelity"].isin(rest)]
        marks.append(
            Marks(
                name=plural(len(rest), "other fidelity", "other fidelities"),
                points=points,
                marker=OTHERS,
                many=many,
            )
        )
    overlay = Overlay(marks=tuple(marks), points=others, front=f"front: {compared['fidelity'].iloc[0]}", beside=True)
    return cost_figures.cost_figure(compared, width, band=band, overlay=overlay)
