"""status: the progress of runs, whether or not a driver is running, read from their folders."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scaling_lab.cli.console import decimals, text_table
from scaling_lab.cli.parsing import add_verb
from scaling_lab.errors import UserError
from scaling_lab.text import duration, plural


def add_verbs(verbs: Any) -> None:
    """Add the verb to the parser."""
    status = add_verb(
        verbs,
        "status",
        _status,
        "show the progress of runs: trials, failures, the best so far, the driver, the time left",
        "status",
        "status runs/topology_ablation",
        "status runs/width_factor runs/width_factor-smoke --json",
    )
    status.add_argument("run", nargs="*", type=Path, help="run folders (all in runs/)")


def _status(options: argparse.Namespace) -> int:
    from scaling_lab.runs.run_status import read_status

    found = [read_status(run) for run in options.run] if options.run else [_or_error(run) for run in _all_runs()]
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        print("\n\n".join(_text(status) for status in found))
    return 2 if any("error" in status for status in found) else 0


def _all_runs() -> list[Path]:
    folders = sorted(path.parent for path in Path("runs").glob("*/ledger.sqlite"))
    if not folders:
        raise UserError("there is no run in runs/; give a run's folder, or start one with scaling-lab run STUDY")
    return folders


def _or_error(folder: Path) -> dict[str, Any]:
    """Return a run's status, or its error, so that one broken run does not hide the others."""
    from scaling_lab.runs.run_status import read_status

    try:
        return read_status(folder)
    except UserError as error:
        return {"run": str(folder), "error": str(error)}


def _text(status: dict[str, Any]) -> str:
    if "error" in status:
        return str(status["error"])
    lines = [status["run"] + (f" (form {status['form']})" if status["form"] else "")]
    rows = {"question": status["question"], "driver": _driver(status), "trials": _trials(status), "best": _best(status)}
    lines += [f"  {name:8}  {words}" for name, words in rows.items() if words]
    return "\n".join(lines + [f"  {line}" for line in _running(status["running"])])


def _driver(status: dict[str, Any]) -> str:

    if status["driver"] is not None:
        holder = status["driver"]
        words = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
        if "started" not in holder:
            return words
        age = (datetime.now(UTC) - datetime.fromisoformat(holder["started"])).total_seconds()
        return f"{words}, since {holder['started'][:16].replace('T', ' ')} UTC ({duration(age)})"
    words = "none"
    if status["killed"] is not None:
        words += f"; the last one, process {status['killed'].get('pid', '?')}, was killed"
    if status["states"]["planned"] and status["command"]:
        words += f"; to continue: {status['command']}"
    return words


def _trials(status: dict[str, Any]) -> str:
    from scaling_lab.study.run.progress import by_kind

    states = status["states"]
    words = [f"{states['complete']} of {plural(status['trials'], 'trial')} complete"]
    words += [f"{states[state]} {state}" for state in ("running", "stopped") if states[state]]
    if states["failed"]:
        words.append(f"{states['failed']} failed ({by_kind(status['failures'])})")
    words += [f"{states['planned']} to go"] if states["planned"] else []
    words += [f"{plural(status['rejected'], 'point')} rejected by limits"] if status["rejected"] else []
    if status["seconds_left"] is not None and (states["planned"] or states["running"]):
        words.append(f"about {duration(status['seconds_left'])} left")
    return ", ".join(words)


def _best(status: dict[str, Any]) -> str:
    best = status["best"]
    if best is None:
        return ""
    value = f"{best['objective']} {best['value']:.{1 if best['objective'].startswith('ap') else 3}f}"
    seed = f"seed {best['seed']}" if best["role"] == "search" else f"fresh seed {best['seed']}"
    words = f"{value}, trial {best['trial']}, {seed}, {best['gmacs']:.3g} gmacs: {best['description']}"
    # Fresh seeds are free of selection bias.
    is_caution = status["one_seed_each"] and best["role"] == "search"
    return words + (" (one seed each: differences may be due to chance)" if is_caution else "")


def _running(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    places = decimals((row["gmacs"] for row in rows), 3, 3)
    cells = [
        [
            str(row["trial"]),
            f"{row['epoch']}/{row['epochs']}",
            "-" if row["loss"] is None else f"{row['loss']:.3f}",
            "-" if row["ap"] is None else f"{row['ap']:.1f}",
            f"{row['gmacs']:.{places}f}",
            str(row["seed"]),
            row["description"],
        ]
        for row in rows
    ]
    return text_table([["trial", "epoch", "loss", "ap", "gmacs", "seed", "architecture"], *cells]).splitlines()
