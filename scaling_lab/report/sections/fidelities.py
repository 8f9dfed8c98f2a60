"""Trials that cannot be compared with the others, for other epochs, another protocol or an early stop, as faint marks.

A front is of one fidelity. These trials are on none and in no interval; they are shown so that nobody misses them.
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
    """Return AP against GMACs once more with the trials of other fidelities; nothing where there are none.

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
    """Return the other trials as rows of the figure's table: each for itself, on no front."""
    alone: dict[str, Any] = {"ap_mean": float("nan"), "ap_low": float("nan"), "ap_high": float("nan")}
    rows = others[["label", "architecture", "trial", "seed", "gmacs", "ap", "fidelity"]]
    return rows.assign(n=1, **alone, on_front=False, series=-1, compared=False)
