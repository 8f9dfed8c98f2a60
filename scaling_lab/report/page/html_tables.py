"""A table of a page as HTML. It formats values and sorts nothing; the page's script sorts and filters."""

from __future__ import annotations

from typing import Any

import pandas as pd

from scaling_lab.report.page import blocks
from scaling_lab.report.page.escaping import escape, identifier, prose, stored
from scaling_lab.report.tables import is_missing
from scaling_lab.text import significant

DENSE = 6  # columns: so many keep their numbers close together, and their words get the room
MOST_UNFILTERED = 8  # rows: a shorter table is read faster than it is filtered


def table(block: blocks.Table, *, filtered: bool = False, compact: bool = False) -> str:
    """Give a table, its first rows as they are and the rest as values, for the page's script to show.

    A short table has a filter where it is `filtered`. On a `compact` page it has no files.
    """
    numeric = [is_numeric(block, column) for column in block.columns]
    first = block.frame.head(block.most_rows)
    head = "".join(_heading(column, numeric=each) for column, each in zip(block.columns, numeric, strict=True))
    rows = "".join(
        f"<tr>{''.join(_cell(c, row, numeric=each) for c, each in zip(block.columns, numeric, strict=True))}</tr>"
        for row in first.to_dict("records")
    )
    count = len(block.frame)
    sorting = "Click a heading to sort. " if count > MOST_UNFILTERED else ""
    more = f"The first {len(first):,} of {count:,} rows. " if len(first) < count else ""
    filtering = (
        f'<label class="filter"><span>Filter</span> <input type="search" placeholder="{escape(_example(block))}">'
        f"<output>{count:,} rows</output></label>"
        if count > MOST_UNFILTERED or (filtered and count > 1)
        else ""
    )
    return (
        f'<div class="table" id="table-{identifier(block.name)}" data-most="{block.most_rows}">{filtering}'
        f'<div class="scroll" tabindex="0"><table{_kind(block)}><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        f"</div>{stored([_column(block, c) for c in block.columns]) if more else ''}"
        f'<p class="caption">{prose(block.caption)} {sorting}<span class="more">{escape(more)}</span>'
        f"{'' if compact else _files(block.name)}</p></div>"
    )


def _kind(block: blocks.Table) -> str:
    return ' class="dense"' if len(block.columns) >= DENSE else ""


def _example(block: blocks.Table) -> str:
    """Say by example what can be typed: words, and bounds of a column of numbers."""
    bounded = next((c.label for c in block.columns if c.digits is not None and " " not in c.label), None)
    return f"words, {bounded}>10" if bounded else "any words"


def _column(block: blocks.Table, column: blocks.Column) -> dict[str, Any]:
    """Give all of a column for the script: texts, or where they recur, each once and where it stands; what sorts; swatches."""
    texts = [cell_text(column, value) for value in block.frame[column.key]]
    different = list(dict.fromkeys(texts))
    found: dict[str, Any] = {"texts": texts}
    if 2 * len(different) < len(texts):
        places = {text: place for place, text in enumerate(different)}
        found = {"texts": different, "at": [places[text] for text in texts]}
    if column.sort and is_numeric(block, column):
        found["values"] = [None if is_missing(v) else float(f"{float(v):.6g}") for v in block.frame[column.sort]]
    if column.swatch:
        found["swatches"] = [series_variable(series) for series in block.frame[column.swatch]]
    return found


def _files(name: str) -> str:
    kinds = {"csv": "CSV", "tex": "LaTeX", "md": "Markdown"}
    links = (f'<a href="tables/{escape(name)}.{kind}">{text}</a>' for kind, text in kinds.items())
    return f'<span class="files">{" ".join(links)}</span>'


def is_numeric(table: blocks.Table, column: blocks.Column) -> bool:
    """Say whether a column is set as numbers."""
    return column.digits is not None or (
        column.sort is not None and pd.api.types.is_numeric_dtype(table.frame[column.sort])
    )


def _heading(column: blocks.Column, *, numeric: bool) -> str:
    title = f' title="{escape(column.help)}"' if column.help else ""
    kind = ' class="number"' if numeric else ""
    return f'<th scope="col" aria-sort="none"{kind}{title}><button type="button">{escape(column.label)}</button></th>'


def _cell(column: blocks.Column, row: dict[Any, Any], *, numeric: bool) -> str:
    value = row[column.key]
    ordering = row[column.sort] if column.sort else value
    key = f' data-v="{float(ordering):.9g}"' if numeric and not is_missing(ordering) else ""
    text = cell_text(column, value)
    kind = ' class="number"' if numeric else ' class="long"' if len(text) > 80 else ""
    return f"<td{kind}{key}>{_swatch(row[column.swatch]) if column.swatch else ''}{escape(text)}</td>"


def _swatch(series: object) -> str:
    return f'<span class="swatch" style="background:var(--{series_variable(series)})"></span>'


def series_variable(series: object) -> str:
    """Name the style sheet's colour of a series."""
    number = -1 if is_missing(series) else int(series)  # type: ignore[call-overload]
    return f"series-{number % 8}" if number >= 0 else "rest"


def cell_text(column: blocks.Column, value: object) -> str:
    """Write a value as its column says; a dash where a number is missing, nothing where a word is."""
    if is_missing(value):
        return "–" if column.digits is not None else ""
    if column.digits is None or not isinstance(value, (int, float)):
        return str(value)
    if column.significant:
        return significant(value, column.digits)
    written = f"{value:{'+' if column.signed else ''}.{column.digits}f}".replace("-", "−")
    return written if written.strip("+−0.") else written.strip("+−")
