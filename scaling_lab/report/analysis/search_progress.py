"""The best AP and the hypervolume after each trial of a search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from scaling_lab.runs.reader import ENDED, Runs
from scaling_lab.stats import fronts, hypervolume
from scaling_lab.text import listed


def random_search(runs: Runs) -> tuple[Runs | None, str]:
    """Return the random-search run beside this one, or None and the reason."""
    path = runs.path.resolve().with_name(f"{runs.path.resolve().name}-random")
    if runs.meta.get("sampler") == "random":
        return None, ""
    if not path.is_dir():
        form = f" --form {runs.meta['form']}" if runs.meta.get("form") else ""
        command = f"scaling-lab run {runs.meta.get('study_file')}{form} --sampler random"
        return (
            None,
            f"Not compared with random search of the same budget: {command} writes {path.name}.",
        )
    random = Runs(path)
    for name in ("protocol", "objectives", "limits", "space"):
        if random.meta.get(name) != runs.meta.get(name):
            return None, f"{path.name} differs in {name}, so it is not compared."
    return random, ""


def progress(named: dict[str, Runs]) -> pd.DataFrame:
    """Return a row for each ended trial of each search, in order of ending: sampler, trials and hours so far, and value.

    With one objective the value is the best result so far. With several it is the hypervolume of the complete trials, in
    per cent of that of all searches together. Its reference point is the worst value of each objective.
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
        quality = f"Hypervolume of {listed(list(objectives))}, % of that of all searches"
    rows = []
    for name, table in ended.items():
        values = signs[0] * _best(points[name]) if len(objectives) == 1 else _volumes(points[name], worst, complete)
        so_far = {"trials": range(1, len(table) + 1), "hours": table["seconds"].cumsum() / 3600, "value": values}
        rows.append(pd.DataFrame({"sampler": name, "trial": table["trial"], **so_far, "quality": quality}))
    return pd.concat(rows, ignore_index=True)


def ended_trials(runs: Runs) -> pd.DataFrame:
    """Return the search's ended trials with the run's current protocol, in order of their numbers."""
    table = runs.table()
    of_search = (table["role"] == "search") & table["state"].isin(ENDED) & (table["protocol"] == runs.meta["protocol"])
    ended: pd.DataFrame = table[of_search].reset_index(drop=True)
    return ended


def _ended(runs: Runs, objectives: list[str]) -> pd.DataFrame:
    """Return the search's ended trials in order of ending; incomplete ones have no values."""
    table = ended_trials(runs)
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
