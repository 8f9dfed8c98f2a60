"""Trials of other fidelities: of another protocol than most, or stopped early."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from scaling_lab.report.tables import records
from scaling_lab.text import plural

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs

COLUMNS = ("trial", "label", "architecture", "seed", "gmacs", "ap", "state", "epochs", "protocol", "fidelity")


def fidelity_words(epochs: int, protocol: str, *, planned: int | None = None) -> str:
    """Name a fidelity: "12 epochs, protocol ab12cd", or "stopped after 2 of 12 epochs, protocol ab12cd"."""
    length = plural(epochs, "epoch") if planned is None else f"stopped after {epochs} of {plural(planned, 'epoch')}"
    return f"{length}, protocol {protocol[:6]}"


def other_trials(runs: Runs, frontier: Frontier) -> pd.DataFrame:
    """Return a row for each trial whose AP is not compared: complete trials of other fidelities, and stopped trials.

    A stopped trial has the AP and the number of its last evaluated epoch. `fidelity` is in words, the most frequent first.
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
