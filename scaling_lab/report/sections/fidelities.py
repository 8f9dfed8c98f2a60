"""Trials of other fidelities (other epochs, another protocol, stopped early) as faint marks.

A front has one fidelity. These trials are not comparable, so they are on no front and in no interval.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pandas as pd

from scaling_lab.report.analysis.other_fidelities import fidelity_words, other_trials
from scaling_lab.report.figures.fidelity_figure import MARKERS, fidelity_figure
from scaling_lab.report.page import blocks
from scaling_lab.text import plural

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs


def fidelity_blocks(runs: Runs, frontier: Frontier, table: pd.DataFrame, band: pd.DataFrame) -> list[blocks.Block]:
    """Return the figure of AP against GMACs with trials of other fidelities; nothing if there are none.

    `table` has a row for each compared trial, as in the main figure, and `band` is their front's.
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
        f"Marks and front are of {main}, as above. Faint marks are of other fidelities, whose APs are not comparable: "
        f"{'; '.join(named[: len(MARKERS)] + more)}. They are on no front and in no interval. A stopped trial has the AP "
        "of its last evaluated epoch."
    )
    return [
        blocks.Figure(
            name="ap_against_gmacs_fidelities",
            table=pd.concat([table.assign(fidelity=main, compared=True), _as_rows(others)], ignore_index=True),
            draw=functools.partial(fidelity_figure, band=band),
            title="AP against multiply-adds, with other fidelities",
            caption=caption,
            alt=f"AP against GMACs with the Pareto front, and {plural(len(others), 'trial')} of other fidelities, faint",
        )
    ]


def _as_rows(others: pd.DataFrame) -> pd.DataFrame:
    """Return the other trials as rows of the figure's table, each separate and on no front."""
    alone: dict[str, Any] = {"ap_mean": float("nan"), "ap_low": float("nan"), "ap_high": float("nan")}
    rows = others[["label", "architecture", "trial", "seed", "gmacs", "ap", "fidelity"]]
    return rows.assign(n=1, **alone, on_front=False, series=-1, compared=False)
