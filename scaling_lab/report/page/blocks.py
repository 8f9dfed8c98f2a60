"""The blocks of a page as plain data: text, tables, figures, pictures.

All text is plain; the templates escape it. A figure is a table and the function that draws it, so both can be used alone,
for example in a notebook.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure as MatplotlibFigure

from scaling_lab.metrics import METRICS
from scaling_lab.report.figures.drawn_boxes import Box
from scaling_lab.report.figures.style import WIDE

Draw = Callable[[pd.DataFrame, float], MatplotlibFigure]


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph; `tone` "note" is small and grey, "warning" is highlighted."""

    text: str
    tone: str = "plain"


@dataclass(frozen=True, kw_only=True)
class Bullets:
    """A list of sentences, each with an optional bold lead."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Names with values, as a list or, with `tiles`, as a row of large values."""

    items: tuple[tuple[str, str], ...]
    tiles: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Figure:
    """A drawing of a table by `draw(table, width in inches)`; `name` names its files, `alt` is its alternative text.

    `width`, in inches, is that of the files and of the page on a desktop.
    """

    name: str
    table: pd.DataFrame
    draw: Draw
    title: str
    caption: str
    alt: str
    width: float = WIDE


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Small figures side by side."""

    figures: tuple[Figure, ...]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table: the frame's column `key`, shown under `label`, sorted by the column `sort` or by itself.

    `digits` are the decimals of numbers, or their significant digits; `signed` adds a sign. `help` explains the heading;
    `swatch` is the column with the row's series, whose colour is shown.
    """

    key: str
    label: str
    digits: int | None = None
    significant: bool = False
    signed: bool = False
    help: str = ""
    sort: str | None = None
    swatch: str | None = None


def metric_column(name: str, *, label: str | None = None) -> Column:
    """Return the column of a metric from scaling_lab.metrics; `label` replaces its label."""
    known = METRICS[name]
    return Column(
        key=name, label=label or known.label, digits=known.digits, significant=known.significant, help=known.meaning
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A frame as a table that can be sorted and filtered; the CSV has all its columns, the page has `columns`.

    The page shows the first `most_rows`; sorting and filtering apply to all rows.
    """

    name: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    caption: str = ""
    most_rows: int = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class Explorer:
    """An interactive plot with zoom, filter and selection, and the table with a row for each point.

    `data` has plain JSON values, gathered by explorer.py and drawn by assets/explorer.js.
    """

    table: Table
    data: Mapping[str, Any]
    caption: str


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A title and boxes on a picture."""

    title: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image as a data URI, its size in pixels, and the panels that show it."""

    name: str
    href: str
    size: tuple[int, int]
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Pictures with boxes, one row each, and the same as a figure for files."""

    rows: tuple[Picture, ...]
    figure: Figure


@dataclass(frozen=True, kw_only=True)
class Code:
    """Text in a monospaced typeface."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Details:
    """Blocks that are collapsed until opened."""

    title: str
    blocks: tuple[Block, ...]


Block = Text | Bullets | Facts | Figure | Gallery | Table | Explorer | Pictures | Code | Details


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with blocks; a page omits a section without blocks."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A report: the answer with the main figure, then the sections.

    `main` names figures of the sections; the first that exists is shown with the answer instead of in its section.
    """

    title: str
    question: str
    sections: tuple[Section, ...]
    subtitle: str = ""
    answer: str = ""
    main: tuple[str, ...] = ()

    @property
    def figure(self) -> Figure | None:
        """The main figure."""
        figures = {
            block.name: block for section in self.sections for block in section.blocks if isinstance(block, Figure)
        }
        return next((figures[name] for name in self.main if name in figures), None)

    @property
    def rest(self) -> tuple[Section, ...]:
        """The sections without the main figure, if they have other blocks."""
        figure = self.figure
        kept = (
            dataclasses.replace(section, blocks=tuple(block for block in section.blocks if block is not figure))
            for section in self.sections
        )
        return tuple(section for section in kept if section.blocks)


def leaves(page: Page) -> Iterator[Block]:
    """Yield all blocks of a page in order, including nested ones."""

    def walk(parts: Iterable[Block]) -> Iterator[Block]:
        for block in parts:
            if isinstance(block, Details):
                yield from walk(block.blocks)
            else:
                yield block

    for section in page.sections:
        yield from walk(section.blocks)


def renamed(block: Block, suffix: str) -> Block:
    """Return a block whose tables and figures have a suffix in their names, since several runs share a folder."""
    if isinstance(block, Details):
        return dataclasses.replace(block, blocks=tuple(renamed(each, suffix) for each in block.blocks))
    if isinstance(block, (Table, Figure)):
        return dataclasses.replace(block, name=f"{block.name}_{suffix}")
    return block
