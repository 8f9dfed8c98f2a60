"""The texts, sort keys and swatches of a table's cells, for the page and for the table's files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from scaling_lab.report.page.blocks import Column, Table
from scaling_lab.report.tables import is_missing
from scaling_lab.text import significant


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell's text, the number it is sorted by (None: by its text) and the style sheet's colour of its swatch."""

    text: str
    order: float | None = None
    swatch: str | None = None


def first_rows(table: Table) -> list[list[Cell]]:
    """Return the cells of the first `most_rows` rows."""
    first = table.frame.head(table.most_rows)
    return [list(row) for row in zip(*(_cells(first, each, table) for each in table.columns), strict=True)]


def stored_columns(table: Table) -> list[dict[str, Any]]:
    """Return whole columns for the page's script: texts (repeated ones once, with indices), sort keys and swatches."""
    return [_stored(_cells(table.frame, column, table), column) for column in table.columns]


def is_numeric(table: Table, column: Column) -> bool:
    """Return whether a column is formatted as numbers."""
    return column.digits is not None or (
        column.sort is not None and pd.api.types.is_numeric_dtype(table.frame[column.sort])
    )


def cell_text(column: Column, value: object) -> str:
    """Format a value for its column; a missing number is a dash, a missing text is empty."""
    if is_missing(value):
        return "–" if column.digits is not None else ""
    if column.digits is None or not isinstance(value, (int, float)):
        return str(value)
    if column.significant:
        return significant(value, column.digits)
    written = f"{value:{'+' if column.signed else ''}.{column.digits}f}".replace("-", "−")
    return written if written.strip("+−0.") else written.strip("+−")


def _cells(frame: pd.DataFrame, column: Column, table: Table) -> list[Cell]:
    numeric = is_numeric(table, column)
    orders = frame[column.sort or column.key]
    swatches = frame[column.swatch].map(_colour) if column.swatch else [None] * len(frame)
    return [
        Cell(
            text=cell_text(column, value),
            order=float(order) if numeric and not is_missing(order) else None,
            swatch=swatch,
        )
        for value, order, swatch in zip(frame[column.key].astype(object), orders, swatches, strict=True)
    ]


def _stored(cells: list[Cell], column: Column) -> dict[str, Any]:
    texts = [cell.text for cell in cells]
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    found: dict[str, Any] = {"texts": texts}
    if 2 * len(places) < len(texts):
        found = {"texts": list(places), "at": [places[text] for text in texts]}
    if column.sort and any(cell.order is not None for cell in cells):
        found["values"] = [None if cell.order is None else float(f"{cell.order:.6g}") for cell in cells]
    if column.swatch:
        found["swatches"] = [cell.swatch for cell in cells]
    return found


def _colour(series: object) -> str:
    """Return the style sheet's name of a series' colour; a missing series has the colour of the rest."""
    return "rest" if is_missing(series) or int(series) < 0 else f"series-{int(series) % 8}"  # type: ignore[call-overload]
