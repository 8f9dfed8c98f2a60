"""Measured latencies as a CSV file, one row for each detector and set of conditions.

`scaling-lab measure` writes it and reports read it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_lab.checks import is_number
from scaling_lab.errors import UserError
from scaling_lab.files import parse_json, read_text, write_whole
from scaling_lab.metrics import COUNTED

if TYPE_CHECKING:
    import pandas as pd

CONDITIONS = ("device", "dtype", "batch", "threads", "backend", "scope")
COLUMNS = (
    *("detector", "architecture", "description", *COUNTED, *CONDITIONS),
    *("median_ms", "p90_ms", "spread_ms", "runs", "processes", "process_spread", "halves_ms", "method"),
    *("anchor", "anchor_ms", "anchor_drift", "peak_memory_mb", "versions", "pieces_ms"),
)
_WHOLE = ("batch", "threads", "runs", "processes")
_WORDS = ("detector", "architecture", "description", "device", "dtype", "backend", "scope", "method", "anchor")
_PLAIN = ("versions", "pieces_ms", "halves_ms")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of `write_rows`. Raises UserError for another file."""
    try:
        reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
        names, rows = tuple(reader.fieldnames or ()), list(reader)
    except csv.Error as error:
        raise UserError(f"{path} is not a file of latencies: {error}") from None
    if names != COLUMNS:
        raise UserError(
            f"{path} is not a file of latencies: its columns are {', '.join(names)}; allowed are {', '.join(COLUMNS)}"
        )
    return [{name: _value(path, line, name, row[name]) for name in COLUMNS} for line, row in enumerate(rows, start=1)]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write all rows atomically. Raises WriteError."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _text(name, row.get(name)) for name in COLUMNS} for row in rows)
    write_whole(path, file.getvalue(), lasting=True)


class Latencies:
    """A file of latencies, for reports. Raises UserError for another file."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.rows = read_rows(self.path)

    def table(self) -> pd.DataFrame:
        """Return a row for each measurement, with the columns of the file."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=list(COLUMNS))


def is_of(row: Mapping[str, Any], conditions: Mapping[str, Any]) -> bool:
    """Return whether a row was measured under these conditions, on a device of this full name."""
    return all(row[name] == value for name, value in conditions.items())


def _value(path: Path, row: int, name: str, text: str | None) -> Any:
    if text is None:
        raise UserError(f"{path}: row {row} has no {name}; the file was truncated or changed")
    if name in _WORDS:
        return text
    if text == "":
        return None
    try:
        if name in _PLAIN:
            return parse_json(text)
        value = int(text) if name in _WHOLE else float(text)
        if not is_number(value):
            raise ValueError
        return value
    except ValueError:
        raise UserError(f"{path}: row {row} has {name} {text!r}, which is not a value of that column") from None


def _text(name: str, value: Any) -> Any:
    if value is None:
        return ""
    if name in ("pieces_ms", "halves_ms"):
        return json.dumps([round(each, 5) for each in value])
    if name in _PLAIN:
        return json.dumps(value, sort_keys=True)
    return f"{value:.6g}" if isinstance(value, float) else value
