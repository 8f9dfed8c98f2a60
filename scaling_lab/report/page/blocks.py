"""What a page is made of, as plain data: text, tables, figures, pictures.

All text is plain text; markup.py's templates escape it. A figure is a table and the function that draws it, so that each can be
used alone, in a notebook too.
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
    """A paragraph; `tone` "note" is small and grey, "warning" stands out."""

    text: str
    tone: str = "plain"


@dataclass(frozen=True, kw_only=True)
class Bullets:
    """A list of sentences, each with an optional bold lead."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Names and values: as a list, or (`tiles`) as a row of large values."""

    items: tuple[tuple[str, str], ...]
    tiles: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Figure:
    """A drawing of a table. `draw(table, width in inches)`; `name` is the name of its files; `alt` says what it shows.

    `width` is that of its files and of the page on a desk.
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
    """A column of a table: the frame's column `key`, shown under `label`, sorted by the column `sort` (or itself).

    `digits` is for numbers: digits after the point, or significant ones; `signed` gives them a sign. `help` explains the
    heading; `swatch` names a column with the row's series colour.
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
    """Return the column of a metric, as scaling_lab.metrics says it; `label` in place of its own."""
    known = METRICS[name]
    return Column(
        key=name, label=label or known.label, digits=known.digits, significant=known.significant, help=known.meaning
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A frame as a table that sorts and filters; all its columns go into the CSV, `columns` into the page.

    The first `most_rows` stand in the page as they are; a reader's sorting and filtering reaches all of them.
    """

    name: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    caption: str = ""
    most_rows: int = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class Explorer:
    """Points that a reader points at, zooms into, filters and selects, and the table whose rows are the same points.

    `data` is plain JSON values: explorer.py gathers them, assets/explorer.js draws them.
    """

    table: Table
    data: Mapping[str, Any]
    caption: str


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Boxes on a picture, under a title."""

    title: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image as a data URI with its size in pixels and several panels that show it."""

    name: str
    href: str
    size: tuple[int, int]
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Pictures with boxes, one row each, and the figure of the same for files."""

    rows: tuple[Picture, ...]
    figure: Figure


@dataclass(frozen=True, kw_only=True)
class Code:
    """Text in a fixed-width face."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Details:
    """Blocks that are closed until asked for."""

    title: str
    blocks: tuple[Block, ...]


Block = Text | Bullets | Facts | Figure | Gallery | Table | Explorer | Pictures | Code | Details


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands under it; a page leaves out a section without blocks."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A whole report: it opens with the answer and the main figure, then come the sections.

    `main` names figures of the sections; the first of them that is there stands beside the answer instead of in its section.
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
        """The sections that have blocks besides the main figure, without it."""
        figure = self.figure
        kept = (
            dataclasses.replace(section, blocks=tuple(block for block in section.blocks if block is not figure))
            for section in self.sections
        )
        return tuple(section for section in kept if section.blocks)


def leaves(page: Page) -> Iterator[Block]:
    """Yield all blocks of a page in order, those inside others too."""

    def walk(parts: Iterable[Block]) -> Iterator[Block]:
        for block in parts:
            if isinstance(block, Details):
                yield from walk(block.blocks)
            else:
                yield block

    for section in page.sections:
        yield from walk(section.blocks)


def renamed(block: Block, suffix: str) -> Block:
    """Return a block's tables and figures names of their own, for those of several runs stand in one folder."""
    if isinstance(block, Details):
        return dataclasses.replace(block, blocks=tuple(renamed(each, suffix) for each in block.blocks))
    if isinstance(block, (Table, Figure)):
        return dataclasses.replace(block, name=f"{block.name}_{suffix}")
    return block
