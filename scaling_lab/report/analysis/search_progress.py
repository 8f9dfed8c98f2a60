"""The best AP and the hypervolume after each trial of a search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from scaling_lab.runs.reader import ENDED, Runs
from scaling_lab.stats import fronts, hypervolume
from scaling_lab.text import listed


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
