"""Tables in characters for the terminal: a run's trials, and any rows of words and numbers. It decides nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_COLUMNS = {
    "topology": "topology",
    "seed": "seed",
    "state": "state",
    "epochs_done": "epochs",
    "ap": "AP",
    "ap50": "AP50",
    "params_m": "params M",
    "gmacs": "GMACs",
    "latency_ms": "ms",
    "seconds": "seconds",
}
_DECIMALS = {"ap": 1, "ap50": 1, "params_m": 3, "gmacs": 4, "latency_ms": 1, "seconds": 0}


def trial_rows(folder: Path) -> list[dict[str, Any]]:
    """Give a run's trials as plain values, the best AP first."""
    from scaling_lab.runs import Runs

    table = Runs(folder).table()
    if "ap" in table:
        table = table.sort_values("ap", ascending=False, na_position="last", kind="stable")
    return [{str(name): _plain(value) for name, value in row.items()} for row in table.to_dict(orient="records")]


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and value != value else value


def trial_table(folder: Path, rows: list[dict[str, Any]]) -> str:
    """Write what `trial_rows` gave of a run, without the columns that no trial has."""
    if not rows:
        return f"{folder}: no trials"
    columns = [name for name in _COLUMNS if any(row.get(name) is not None for row in rows)]
    lines = [["trial", *(_COLUMNS[name] for name in columns)]]
    lines += [[str(row["trial"]), *(_cell(name, row.get(name)) for name in columns)] for row in rows]
    return text_table(lines)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.{_DECIMALS[name]}f}" if name in _DECIMALS else str(value)


def text_table(rows: list[list[str]]) -> str:
    """Align words left and numbers right."""
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
