"""Each block of a page as HTML. Every text from a block is escaped here, and nothing else is decided.

A figure is drawn twice, for a desk and for a phone, and the style sheet shows one: text that is legible at 770 px is
not at 355.
"""

from __future__ import annotations

import base64
import html
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
from matplotlib.figure import Figure as MatplotlibFigure

from scaling_lab.report import blocks, words
from scaling_lab.report.style import NARROW
from scaling_lab.report.svg import drawn, inline_svg

Draw = Callable[[blocks.Figure, float], MatplotlibFigure]

DENSE = 6  # columns: so many keep their numbers close together, and their words get the room
MOST_UNFILTERED = 8  # rows: a shorter table is read faster than it is filtered


def escape(text: object) -> str:
    """Make any value harmless as text and as an attribute's value."""
    return html.escape(str(text), quote=True)


def _prose(text: str) -> str:
    """Make sentences harmless and keep percent signs on the line of their numbers."""
    return re.sub(r"(?<=\d) %", "&nbsp;%", escape(text))


def identifier(text: str) -> str:
    """Make an id out of a title."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "section"


def render_all(parts: Iterable[blocks.Block], draw: Draw = drawn) -> str:
    """Render blocks one after the other."""
    return "\n".join(render(block, draw) for block in parts)


def render(block: blocks.Block, draw: Draw = drawn) -> str:
    """Render one block; `draw` draws a figure at a width."""
    match block:
        case blocks.Text():
            return f'<p class="text {escape(block.tone)}">{_prose(block.text)}</p>'
        case blocks.Bullets():
            return f'<ul class="bullets">{"".join(_bullet(lead, text) for lead, text in block.items)}</ul>'
        case blocks.Facts():
            rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in block.items)
            return f'<dl class="{"tiles" if block.tiles else "facts"}">{rows}</dl>'
        case blocks.Figure():
            return _figure(block, draw)
        case blocks.Gallery():
            return f'<div class="gallery">{"".join(_small_figure(figure, draw) for figure in block.figures)}</div>'
        case blocks.Table():
            return _table(block)
        case blocks.Pictures():
            return _pictures(block)
        case blocks.Code():
            return f'<pre tabindex="0"><code>{escape(block.text)}</code></pre>'
        case blocks.Details():
            return f"<details><summary>{escape(block.title)}</summary>{render_all(block.blocks, draw)}</details>"


def _bullet(lead: str, text: str) -> str:
    return f"<li>{f'<strong>{escape(lead)}</strong> ' if lead else ''}{_prose(text)}</li>"


# --- figures ---------------------------------------------------------------------------------------------------------


def _figure(figure: blocks.Figure, draw: Draw) -> str:
    wide = inline_svg(draw(figure, figure.width), prefix=f"{identifier(figure.name)}-w-")
    narrow = inline_svg(draw(figure, NARROW), prefix=f"{identifier(figure.name)}-n-")
    title = f"<h3>{escape(figure.title)}</h3>" if figure.title else ""
    return (
        f'<figure id="figure-{identifier(figure.name)}">{title}'
        f'<div class="wide" role="img" aria-label="{escape(figure.alt)}">{wide}</div>'
        f'<div class="narrow" role="img" aria-label="{escape(figure.alt)}">{narrow}</div>'
        f"<figcaption>{_prose(figure.caption)} {_files(figure.name)}</figcaption></figure>"
    )


def _small_figure(figure: blocks.Figure, draw: Draw) -> str:
    svg = inline_svg(draw(figure, figure.width), prefix=f"{identifier(figure.name)}-")
    width = re.search(r'viewBox="0 0 ([\d.]+)', svg)
    assert width is not None
    style = f"max-width:{float(width.group(1)) * 4 / 3:.0f}px"
    return (
        f'<figure class="small"><h3>{escape(figure.title)}</h3>'
        f'<div role="img" aria-label="{escape(figure.alt)}" style="{style}">{svg}</div>'
        f"<figcaption>{_prose(figure.caption)} {_files(figure.name)}</figcaption></figure>"
    )


def _files(name: str) -> str:
    """Link a figure's files, which stand beside the page."""
    links = (f'<a href="figures/{escape(name)}.{kind}">{kind.upper()}</a>' for kind in ("svg", "png", "csv"))
    return f'<span class="files">{" ".join(links)}</span>'


# --- tables ----------------------------------------------------------------------------------------------------------


def _table(table: blocks.Table) -> str:
    shown = table.frame.head(table.most_rows)
    head = "".join(_heading(column, numeric=is_numeric(table, column)) for column in table.columns)
    rows = "".join(
        f"<tr>{''.join(_cell(column, row, numeric=is_numeric(table, column)) for column in table.columns)}</tr>"
        for row in shown.to_dict("records")
    )
    kind = ' class="dense"' if len(table.columns) >= DENSE else ""
    more = f"The first {len(shown)} of {len(table.frame)} rows. " if len(shown) < len(table.frame) else ""
    filtering = (
        f'<label class="filter">Filter <input type="search" placeholder="any word">'
        f'<output>{len(shown)} rows</output></label>'
        if len(shown) > MOST_UNFILTERED
        else ""
    )  # fmt: skip
    return (
        f'<div class="table" id="table-{identifier(table.name)}">{filtering}<div class="scroll" tabindex="0">'
        f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        f'<p class="caption">{_prose(table.caption)} {escape(more)}<span class="files">'
        f"{_table_files(table.name)}</span></p></div>"
    )


def _table_files(name: str) -> str:
    links = {"csv": "CSV", "tex": "LaTeX", "md": "Markdown"}
    return " ".join(f'<a href="tables/{escape(name)}.{kind}">{text}</a>' for kind, text in links.items())


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
    key = f' data-v="{float(ordering):.9g}"' if numeric and not _missing(ordering) else ""
    text = shown(value, column.digits, signed=column.signed, significant=column.significant)
    kind = ' class="number"' if numeric else ' class="long"' if len(text) > 80 else ""
    return f"<td{kind}{key}>{_swatch(row[column.swatch]) if column.swatch else ''}{escape(text)}</td>"


def _swatch(series: object) -> str:
    return f'<span class="swatch" style="background:var(--{series_variable(series)})"></span>'


def series_variable(series: object) -> str:
    """Name the style sheet's colour of a series."""
    number = -1 if _missing(series) else int(series)  # type: ignore[call-overload]
    return f"series-{number % 8}" if number >= 0 else "rest"


def shown(value: object, digits: int | None, *, signed: bool = False, significant: bool = False) -> str:
    """Write a value for people; nothing where there is nothing. `digits` are those after the point, or significant."""
    if _missing(value):
        return "–" if digits is not None else ""
    if digits is None or not isinstance(value, (int, float)):
        return str(value)
    if significant:
        return words.significant(value, digits)
    text = f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "−")
    return text if text.strip("+−0.") else text.strip("+−")


def _missing(value: object) -> bool:
    return value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and math.isnan(value))


# --- pictures --------------------------------------------------------------------------------------------------------


def _pictures(pictures: blocks.Pictures) -> str:
    rows = "".join(_picture(row, index) for index, row in enumerate(pictures.rows))
    figure = pictures.figure
    return f'<div class="pictures"><p class="caption">{_prose(figure.caption)} {_files(figure.name)}</p>{rows}</div>'


def _picture(picture: blocks.Picture, index: int) -> str:
    """Show the picture once for each panel; its bytes stand in the page once."""
    width, height = picture.size
    kind = "jpeg" if picture.data[:2] == b"\xff\xd8" else "png"
    source = f"data:image/{kind};base64,{base64.b64encode(picture.data).decode()}"
    image = f'<image id="picture-{index}" href="{source}" width="{width}" height="{height}"/>'
    panels = []
    for number, panel in enumerate(picture.panels):
        first = image if number == 0 else f'<use href="#picture-{index}"/>'
        large_first = sorted(panel.boxes, key=lambda box: -box.bbox[2] * box.bbox[3])
        boxes = "".join([*(_box(box, picture.size) for box in large_first), *map(_label, panel.boxes)])
        label = f"{picture.name}, {panel.title}: " + (", ".join(box.text for box in panel.boxes) or "no boxes")
        panels.append(
            f'<figure class="panel"><svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
            f"{first}{boxes}</svg>"
            f"<figcaption>{escape(panel.title)}{'' if panel.boxes else ' – no boxes'}</figcaption></figure>"
        )
    return f'<div class="picture-row">{"".join(panels)}</div>'


def _box(box: blocks.Box, size: tuple[int, int]) -> str:
    """Draw a box; its class and score show when it is pointed at."""
    x, y, width, height = box.bbox
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="none" pointer-events="all" '
        f'stroke="var(--box-{box.series % 8})" stroke-width="{0.011 * max(size):.2f}">'
        f"<title>{escape(box.text)}</title></rect>"
    )


def _label(box: blocks.Box) -> str:
    """Write a box's label where it was placed; the words fill their place whatever the reader's typeface."""
    if box.label is None:
        return ""
    x, y, width, height = box.label.bbox
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="var(--box-{box.series % 8})"/>'
        f'<text x="{x + 0.12 * height:.1f}" y="{y + 0.77 * height:.1f}" font-size="{0.82 * height:.2f}" '
        f'textLength="{width - 0.24 * height:.1f}" lengthAdjust="spacingAndGlyphs">{escape(box.label.text)}</text>'
    )
