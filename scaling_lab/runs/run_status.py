"""The status of a run, read from its folder, whether or not its driver is alive.

A driver holds a lock on a file that names it; the system releases the lock when the driver ends or is killed.
"""

from __future__ import annotations

import fcntl
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scaling_lab.runs.lock import read_holder
from scaling_lab.runs.reader import NO_KIND, STATES, Runs


def read_status(folder: str | Path) -> dict[str, Any]:
    """Return a run's status as plain JSON values. Raises UserError where there is no run.

    `states` and `failures` count trials; a trial left running by a killed driver counts as planned. `best` is the complete
    trial with the best first objective, among those with fresh seeds if there are any. `one_seed_each`: a lead in the
    search may be due to chance. `driver` is the current writer (pid, host, started), `killed` a writer that was killed;
    `running` and `seconds_left` are empty without a driver.
    """
    runs = Runs(folder)
    meta, sessions = runs.meta, runs.sessions()
    rows = [{str(name): value for name, value in row.items()} for row in runs.table().to_dict(orient="records")]
    holder, is_held = _holder(runs.folder.lock)
    if not is_held:
        rows = [{**row, "state": "planned"} if row["state"] == "running" else row for row in rows]
    trials = max(len(rows), meta.get("planned_trials") or 0)
    states = Counter(row["state"] for row in rows)
    states["planned"] += trials - len(rows)
    return {
        "run": str(folder),
        "study": meta.get("study"),
        "form": meta.get("form"),
        "question": meta.get("question"),
        "trials": trials,
        "states": {state: states[state] for state in STATES},
        "failures": dict(Counter(row["failure_kind"] or NO_KIND for row in rows if row["state"] == "failed")),
        "rejected": len(runs.rejections()),
        "best": _best(rows, meta.get("objectives") or {}),
        "one_seed_each": _one_seed_each(rows),
        "driver": holder if is_held else None,
        "killed": holder if holder and not is_held else None,
        "command": None if sessions.empty else str(sessions["command"].iloc[-1]),
        "running": [_running(runs, row) for row in rows if row["state"] == "running"],
        "seconds_left": _seconds_left(rows, states["planned"]) if is_held else None,
    }


def _holder(path: Path) -> tuple[dict[str, Any] | None, bool]:
    """Return the last holder of a lock, if known, and whether it still holds it."""
    try:
        with path.open("rb") as file:
            values = read_holder(path)
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                is_held = True
            else:
                is_held = False
    except OSError:
        return None, False
    known: dict[str, Any] = {name: values[name] for name in ("pid", "host", "started") if name in values}
    return (known if known or is_held else None), is_held


def _best(rows: Sequence[Mapping[str, Any]], objectives: Mapping[str, str]) -> dict[str, Any] | None:
    for name, direction in objectives.items():
        complete = [row for row in rows if row["state"] == "complete" and not math.isnan(row[name])]
        known = [row for row in complete if row["role"] != "search"] or complete
        choose = max if direction == "maximize" else min
        best = choose(known, key=lambda row: float(row[name]), default=None)
        return None if best is None else {"objective": name, "value": float(best[name]), **_who(best)}
    return None


def _one_seed_each(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether several architectures were searched, none with a second seed."""
    found = [row["architecture"] for row in rows if row["state"] == "complete" and row["role"] == "search"]
    return len(found) > 1 and len(set(found)) == len(found)


def _running(runs: Runs, row: Mapping[str, Any]) -> dict[str, Any]:
    metrics = runs.last_epoch(int(row["trial"]))
    epochs = {"epoch": int(row["epochs_done"]), "epochs": int(row["epochs"])}
    return {**_who(row), **epochs, "loss": metrics.get("loss"), "ap": metrics.get("ap")}


def _who(row: Mapping[str, Any]) -> dict[str, Any]:
    whole = {"trial": int(row["trial"]), "seed": int(row["seed"]), "gmacs": float(row["gmacs"])}
    return {**whole, "role": row["role"], "architecture": row["architecture"], "description": row["description"]}


def _seconds_left(rows: Sequence[Mapping[str, Any]], planned: int) -> float | None:
    """Estimate the time left, with the mean past duration of epochs and trials and the current concurrency."""
    begun = [row for row in rows if row["epochs_done"] > 0]
    if not begun:
        return None
    per_epoch = sum(row["seconds"] for row in begun) / sum(row["epochs_done"] for row in begun)
    ended = [row["epochs_done"] for row in rows if row["state"] in ("complete", "stopped")] or [rows[0]["epochs"]]
    running = [row["epochs"] - row["epochs_done"] for row in rows if row["state"] == "running"]
    work = sum(running) + planned * sum(ended) / len(ended)
    return float(per_epoch * max([*running, work / max(1, len(running))]))
