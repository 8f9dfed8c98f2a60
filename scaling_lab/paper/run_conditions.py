"""The conditions of a run's numbers as values, as a sentence and as a file name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import median
from typing import Any

import pandas as pd

from scaling_lab.report.tables import records
from scaling_lab.runs.reader import Runs
from scaling_lab.text import listed, number, plural


def conditions(runs: Runs) -> dict[str, Any]:
    """Return data, images, held_out, gmacs, sizes (pixels), epochs, seeds, fresh and device as text.

    `gmacs` is the range over the detectors for one image. `seeds` is the number of seeds of an architecture in the search,
    `fresh` of a finalist. Values that a run lacks are None.
    """
    table, meta = runs.table(), runs.meta
    complete = table[table["state"] == "complete"]
    searched = complete["role"] == "search"
    specs = runs.specs()
    sizes = sorted({max(specs[str(digest)].image_size) for digest in table["architecture"].unique()})
    images, held_out = ((meta.get("data") or {}).get(f"{part}_images") for part in ("train", "val"))
    gmacs = dict.fromkeys(number(value, 3) for value in (complete["gmacs"].min(), complete["gmacs"].max()))
    return {
        "data": str((meta.get("data") or {}).get("kind", "data")),
        "images": None if images is None else f"{images:,}",
        "held_out": None if held_out is None else f"{held_out:,}",
        "gmacs": " to ".join(gmacs),
        "sizes": _span(sizes),
        "epochs": _span(sorted(set(complete["epochs"].astype(int)))),
        "seeds": _span(_repeats(complete[searched])),
        "fresh": _span(_repeats(complete[~searched])) if (~searched).any() else None,
        "device": " and ".join(sorted(set(table["device"].dropna().astype(str)))) or "no device",
    }


def conditions_in_words(runs: Sequence[Runs]) -> str:
    """Write the conditions of several runs, shared ones once."""
    known = [conditions(each) for each in runs]
    parts = []
    for key, form in _FORMS.items():
        values = dict.fromkeys(str(value) for each in known if (value := each[key]) is not None)
        parts += [form.format(listed(list(values)))] if values else []
    trials = _training_runs(runs)
    return f"{', '.join(parts)}, {plural(len(trials), 'training run')}.{_seed_range(trials)}"


_FORMS = {
    "data": "{}",
    "images": "{} training images",
    "held_out": "{} held out",
    "sizes": "{} px",
    "epochs": "epochs: {}",
    "gmacs": "{} GMACs",
    "seeds": "seeds: {}",
    "fresh": "fresh seeds of finalists: {}",
    "device": "{}",
}


def protocol(runs: Runs) -> str:
    """Write a run's epochs and image size: "3 epochs at 128 px"."""
    known = conditions(runs)
    return f"{known['epochs']} {'epoch' if known['epochs'] == '1' else 'epochs'} at {known['sizes']} px"


def csv_name(runs: Runs) -> str:
    """Return the file name of a run's table from its conditions: "trials_shapes_128px_8_epochs_5_seeds_amd_epyc.csv"."""
    known = conditions(runs)
    sizes, epochs, seeds = f"{known['sizes']}px", f"{known['epochs']}_epochs", f"{known['seeds']}_seeds"
    name = "_".join([known["data"], sizes, epochs, seeds, known["device"]]).replace(" to ", "-")
    return f"trials_{re.sub('[^A-Za-z0-9-]+', '_', name).lower()}.csv"


def made_by(runs: Runs) -> str:
    """List the commits, torch versions and processors or GPUs of a run's trials."""
    trained = set(runs.table()["session"].dropna().astype(int))
    sessions = [row for row in records(runs.sessions()) if row["id"] in trained]
    commits = dict.fromkeys(_commit(row) for row in sessions)
    torches = dict.fromkeys(str((row["versions"] or {}).get("torch", "unknown")) for row in sessions)
    return f"{' and '.join(commits)}, torch {' and '.join(torches)}, {conditions(runs)['device']}"


def _commit(session: dict[str, Any]) -> str:
    if not isinstance(session["git_commit"], str):
        return "no commit"
    return f"commit {session['git_commit'][:7]}{' with uncommitted changes' if session['git_dirty'] else ''}"


def _training_runs(runs: Sequence[Runs]) -> pd.DataFrame:
    """Return the complete trials of the runs; a trial that two runs share counts once."""
    same = ["architecture", "role", "seed", "protocol", "epochs"]
    whole = pd.concat([run.table()[["state", *same, "ap"]] for run in runs])
    return whole[whole["state"] == "complete"].drop_duplicates(same)


def _seed_range(trials: pd.DataFrame) -> str:
    groups = trials.groupby(["architecture", "role", "protocol", "epochs"])["ap"]
    ranges = (groups.max() - groups.min())[groups.count() > 1].tolist()
    if not ranges:
        return ""
    return f" Range of AP over an architecture's seeds: median {median(ranges):.0f}, maximum {max(ranges):.0f}."


def _repeats(trials: pd.DataFrame) -> list[int]:
    return sorted({int(count) for count in trials.groupby("architecture")["seed"].nunique()})


def _span(values: list[int]) -> str:
    return "none" if not values else str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"
