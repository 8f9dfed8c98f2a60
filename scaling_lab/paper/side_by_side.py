"""A table of published and counted numbers with notes, as text or as plain values."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

WIDTH = 110
LEGEND = "paper: as printed there; %: difference of our number from the paper's"
Value = str | int | float | None


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: its key in the rows, its heading, a heading shared with its neighbours, and the format of numbers."""

    key: str
    heading: str
    group: str = ""
    form: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of values by the columns' keys, with notes."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Value], ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return title, rows and notes as plain JSON values."""
        return {"title": self.title, "rows": [dict(row) for row in self.rows], "notes": list(self.notes)}


def difference(ours: float, papers: float) -> float:
    """Return the difference of our number from the paper's in percent of the paper's."""
    return 100 * (ours / papers - 1)


def rounds_to(ours: float, papers: float) -> bool:
    """Return whether our number rounds to the paper's at its number of decimals."""
    return round(ours, len(f"{papers:g}".partition(".")[2])) == papers


def compared(key: str, group: str, form: str, *, ours: str = "counted", papers: str = "g") -> tuple[Column, ...]:
    """Return the three columns that `comparison` fills: the paper's number, ours and the difference."""
    return (
        Column(key=f"{key}_paper", heading="paper", group=group, form=papers),
        Column(key=key, heading=ours, form=form),
        Column(key=f"{key}_difference_percent", heading="%", form="+.1f"),
    )


def comparison(key: str, ours: float | None, papers: float) -> dict[str, Value]:
    """Return the values of `compared`'s columns; `ours` is None if missing."""
    percent = None if ours is None else difference(ours, papers)
    return {f"{key}_paper": papers, key: ours, f"{key}_difference_percent": percent}


def as_text(tables: Iterable[Table], width: int = WIDTH) -> str:
    """Return a legend and the tables as text, words left-aligned, numbers right-aligned, notes wrapped at `width`."""
    return "\n\n".join([LEGEND, *(_text(table, width) for table in tables)])


def _text(table: Table, width: int) -> str:
    cells = [[_cell(column, row.get(column.key)) for column in table.columns] for row in table.rows]
    sizes = [max(len(text) for text in texts) for texts in zip([c.heading for c in table.columns], *cells, strict=True)]
    starts = [sum(sizes[:place]) + 2 * place for place in range(len(sizes))]
    groups = ""
    for column, start in zip(table.columns, starts, strict=True):
        groups = groups.ljust(start) + column.group if column.group else groups
    lines = [table.title, "", groups] if groups else [table.title, ""]
    lines += [_line(table, sizes, texts) for texts in ([column.heading for column in table.columns], *cells)]
    notes = [
        textwrap.fill(note, width, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
        for note in table.notes
    ]
    return "\n".join([*lines, "", *notes] if notes else lines)


def _line(table: Table, sizes: list[int], texts: list[str]) -> str:
    aligned = [
        text.rjust(size) if column.form else text.ljust(size)
        for column, size, text in zip(table.columns, sizes, texts, strict=True)
    ]
    return "  ".join(aligned).rstrip()


def _cell(column: Column, value: Value) -> str:
    if value is None:
        return "-"
    text = format(value, column.form)
    return text.lstrip("+-") if column.form and float(text) == 0 else text
