"""Text tables for the terminal: a run's trials with remarks, and general rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_lab.runs.reader import NO_KIND

if TYPE_CHECKING:
    from scaling_lab.runs.reader import Runs

WIDTH = 110
MOST_FAILURES = 5

_COLUMNS = {
    "topology": "topology",
    "role": "role",
    "seed": "seed",
    "state": "state",
    "epochs_done": "epochs",
    "ap": "AP",
    "ap50": "AP50",
    "params_m": "params M",
    "gmacs": "GMACs",
    "memory_mb": "MB",
    "predicted_latency_ms": "predicted ms",
    "latency_ms": "ms",
    "seconds": "seconds",
}
_DECIMALS = {"ap": 1, "ap50": 1}
# By column: the least decimals, and the significant digits of the smallest number.
_DIGITS = {
    "params_m": (3, 3),
    "gmacs": (3, 3),
    "memory_mb": (1, 3),
    "predicted_latency_ms": (1, 3),
    "latency_ms": (1, 2),
    "seconds": (0, 1),
}
# Columns to drop from a wide table: first those whose values are all equal, then these in any case.
_CONSTANT_GO, _GO = ("topology", "state", "seed", "epochs_done"), ("memory_mb", "seconds", "ap50", "topology")


def trial_rows(folder: Path) -> list[dict[str, Any]]:
    """Return a run's trials as plain values, best AP first."""
    from scaling_lab.runs.reader import Runs

    table = Runs(folder).table()
    if "ap" in table:
        table = table.sort_values("ap", ascending=False, na_position="last", kind="stable")
    return [{str(name): _plain(value) for name, value in row.items()} for row in table.to_dict(orient="records")]


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and value != value else value


# --- a run's trials --------------------------------------------------------------------------------------------------


def trial_table(folder: Path, rows: list[dict[str, Any]]) -> str:
    """Format the rows of `trial_rows`: parameters that vary, results, costs and remarks."""
    from scaling_lab.runs.reader import Runs

    if not rows:
        return f"{folder}: no trials"
    columns = _columns(rows)
    dropped = _drop_what_is_too_wide(columns, rows)
    lines = [_table(columns, rows), *_remarks(rows, Runs(folder))]
    if dropped:
        lines.append(f"not shown (table too wide): {', '.join(dropped)}; --json has all")
    return "\n".join(lines)


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return column headings by their names in the rows."""
    params = {
        name: name.removeprefix("param_") for name in rows[0] if name.startswith("param_") and _varies(name, rows)
    }
    columns = {"trial": "trial", **params}
    known: dict[str, str] = {}
    for row in rows:
        point = str([row.get(name) for name in params])
        if known.setdefault(point, row["architecture"]) != row["architecture"]:
            columns["architecture"] = "architecture"  # the space has changed: one point gave two architectures
    after = {name: text for name, text in _COLUMNS.items() if any(row.get(name) is not None for row in rows)}
    if "param_topology" in params:
        del after["topology"]
    if not any(row.get("role", "search") != "search" for row in rows):
        after.pop("role", None)
    return {**columns, **after}


def _drop_what_is_too_wide(columns: dict[str, str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Remove columns until the table fits; return the headings of removed columns that had values."""
    constant = [name for name in _CONSTANT_GO if not _varies(name, rows)]
    params = [name for name in columns if name.startswith("param_")]
    dropped = []
    for name in (*constant, *_GO, *reversed(params)):
        if max(len(line) for line in _table(columns, rows).splitlines()) <= WIDTH:
            break
        if name in columns:
            text = columns.pop(name)
            dropped += [text] if _varies(name, rows) else []
    return dropped


def _varies(name: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    return len({str(row.get(name)) for row in rows}) > 1


def _table(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [_cells(name, rows) for name in columns]
    return text_table([list(columns.values()), *(list(row) for row in zip(*cells, strict=True))])


def _cells(name: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    values = [row.get(name) for row in rows]
    if name == "epochs_done":
        return [f"{row['epochs_done']}" + _of(row) for row in rows]
    if name in _DECIMALS or name in _DIGITS:
        numbers = [value for value in values if value is not None]
        places = _DECIMALS[name] if name in _DECIMALS else decimals(numbers, *_DIGITS[name])
        return ["-" if value is None else f"{value:.{places}f}" for value in values]
    return ["-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value) for value in values]


def _of(row: Mapping[str, Any]) -> str:
    return "" if row["epochs_done"] == row["epochs"] else f"/{row['epochs']}"


def _remarks(rows: Sequence[Mapping[str, Any]], runs: Runs) -> list[str]:
    """Return remarks on units, seeds and failed trials."""
    remarks = []
    searched = [row for row in rows if row.get("role", "search") == "search"]
    complete = [row["architecture"] for row in searched if row["state"] == "complete"]
    if len(complete) > 1 and len(set(complete)) == len(complete):
        among = "one seed each" if len(searched) == len(rows) else "one seed each in the search"
        remarks.append(f"{among}: differences may be due to chance")
    if any(row.get("latency_ms") is not None for row in rows):
        remarks.append(_latency_words(runs))
    failed = [row for row in rows if row["state"] == "failed"]
    remarks += [_failure_words(row) for row in failed[:MOST_FAILURES]]
    if len(failed) > MOST_FAILURES:
        remarks.append(f"{len(failed) - MOST_FAILURES} more failed")
    return remarks


def _failure_words(row: Mapping[str, Any]) -> str:
    words = f"trial {row['trial']} failed: {(row['failure_kind'] or NO_KIND).replace('_', ' ')}"
    return words + (f": {row['failure_message']}" if row["failure_message"] else "")


def _latency_words(runs: Runs) -> str:
    measured = runs.latencies().iloc[-1]
    threads = f", {measured['threads']} thread{'' if measured['threads'] == 1 else 's'}" if measured["threads"] else ""
    return f"ms: the network on one image, {measured['device']}{threads}; seconds: training and evaluation"


# --- any table -------------------------------------------------------------------------------------------------------


def decimals(numbers: Iterable[float], least: int, digits: int) -> int:
    """Return the decimals that show `digits` significant digits of the smallest non-zero number; at least `least`."""
    sizes = [abs(number) for number in numbers if number and math.isfinite(number)]
    return max(least, digits - 1 - math.floor(math.log10(min(sizes)))) if sizes else least


def text_table(rows: list[list[str]]) -> str:
    """Format rows as lines, text left-aligned and numbers right-aligned."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    numeric = [
        all(row[place][:1].isdigit() or row[place] in ("-", "") for row in rows[1:]) for place in range(len(widths))
    ]
    lines = []
    for row in rows:
        cells = zip(row, widths, numeric, strict=True)
        lines.append(
            "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells).rstrip()
        )
    return "\n".join(lines)
