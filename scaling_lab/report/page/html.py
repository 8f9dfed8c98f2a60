"""Each block of a page as HTML. Every text from a block is escaped here, and nothing else is decided.

A figure is drawn twice, for a desk and for a phone, and the style sheet shows one: text that is legible at 770 px is
not at 355.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from matplotlib.figure import Figure as MatplotlibFigure

from scaling_lab.report.figures import drawn_boxes
from scaling_lab.report.figures.style import NARROW
from scaling_lab.report.page import blocks, html_explorer, html_tables
from scaling_lab.report.page.escaping import escape, identifier, prose
from scaling_lab.report.page.svg import drawn, inline_svg

Draw = Callable[[blocks.Figure, float], MatplotlibFigure]


def render_all(parts: Iterable[blocks.Block], draw: Draw = drawn, *, compact: bool = False) -> str:
    """Render blocks one after the other."""
    return "\n".join(render(block, draw, compact=compact) for block in parts)


def render(block: blocks.Block, draw: Draw = drawn, *, compact: bool = False) -> str:
    """Render one block; `draw` draws a figure at a width. A compact page links no files and has no explorer."""
    match block:
        case blocks.Text():
            return f'<p class="text {escape(block.tone)}">{prose(block.text)}</p>'
        case blocks.Bullets():
            return f'<ul class="bullets">{"".join(_bullet(lead, text) for lead, text in block.items)}</ul>'
        case blocks.Facts():
            rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in block.items)
            return f'<dl class="{"tiles" if block.tiles else "facts"}">{rows}</dl>'
        case blocks.Figure():
            return _figure(block, draw, compact)
        case blocks.Gallery():
            return f'<div class="gallery">{"".join(_small_figure(figure, draw, compact) for figure in block.figures)}</div>'
        case blocks.Table():
            return html_tables.table(block, compact=compact)
        case blocks.Explorer():
            return html_tables.table(block.table, compact=True) if compact else html_explorer.explorer(block)
        case blocks.Pictures():
            return _pictures(block, compact)
        case blocks.Code():
            return f'<pre tabindex="0"><code>{escape(block.text)}</code></pre>'
        case blocks.Details():
            inside = render_all(block.blocks, draw, compact=compact)
            return f"<details><summary>{escape(block.title)}</summary>{inside}</details>"


def _bullet(lead: str, text: str) -> str:
    return f"<li>{f'<strong>{escape(lead)}</strong> ' if lead else ''}{prose(text)}</li>"


# --- figures ---------------------------------------------------------------------------------------------------------


def _figure(figure: blocks.Figure, draw: Draw, compact: bool) -> str:
    wide = inline_svg(draw(figure, figure.width), prefix=f"{identifier(figure.name)}-w-")
    narrow = inline_svg(draw(figure, NARROW), prefix=f"{identifier(figure.name)}-n-")
    title = f"<h3>{escape(figure.title)}</h3>" if figure.title else ""
    return (
        f'<figure id="figure-{identifier(figure.name)}">{title}'
        f'<div class="wide" role="img" aria-label="{escape(figure.alt)}">{wide}</div>'
        f'<div class="narrow" role="img" aria-label="{escape(figure.alt)}">{narrow}</div>'
        f"<figcaption>{prose(figure.caption)} {_files(figure.name, compact)}</figcaption></figure>"
    )


def _small_figure(figure: blocks.Figure, draw: Draw, compact: bool) -> str:
    svg = inline_svg(draw(figure, figure.width), prefix=f"{identifier(figure.name)}-")
    width = re.search(r'viewBox="0 0 ([\d.]+)', svg)
    assert width is not None
    style = f"max-width:{float(width.group(1)) * 4 / 3:.0f}px"
    return (
        f'<figure class="small"><h3>{escape(figure.title)}</h3>'
        f'<div role="img" aria-label="{escape(figure.alt)}" style="{style}">{svg}</div>'
        f"<figcaption>{prose(figure.caption)} {_files(figure.name, compact)}</figcaption></figure>"
    )


def _files(name: str, compact: bool) -> str:
    """Link a figure's files, which stand beside the page; nothing on a compact page, which has none."""
    if compact:
        return ""
    links = (f'<a href="figures/{escape(name)}.{kind}">{kind.upper()}</a>' for kind in ("svg", "pdf", "png", "csv"))
    return f'<span class="files">{" ".join(links)}</span>'


# --- pictures --------------------------------------------------------------------------------------------------------


def _pictures(pictures: blocks.Pictures, compact: bool) -> str:
    rows = "".join(_picture(row, index) for index, row in enumerate(pictures.rows))
    figure = pictures.figure
    return f'<div class="pictures"><p class="caption">{prose(figure.caption)} {_files(figure.name, compact)}</p>{rows}</div>'


def _picture(picture: blocks.Picture, index: int) -> str:
    """Show the picture once for each panel; its bytes stand in the page once."""
    width, height = picture.size
    image = f'<image id="picture-{index}" href="{picture.href}" width="{width}" height="{height}"/>'
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


def _box(box: drawn_boxes.Box, size: tuple[int, int]) -> str:
    """Draw a box; its class and score show when it is pointed at."""
    x, y, width, height = box.bbox
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="none" pointer-events="all" '
        f'stroke="var(--box-{box.series % 8})" stroke-width="{0.011 * max(size):.2f}">'
        f"<title>{escape(box.text)}</title></rect>"
    )


def _label(box: drawn_boxes.Box) -> str:
    """Write a box's label where it was placed; the words fill their place whatever the reader's typeface."""
    if box.label is None:
        return ""
    x, y, width, height = box.label.bbox
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="var(--box-{box.series % 8})"/>'
        f'<text x="{x + 0.12 * height:.1f}" y="{y + 0.77 * height:.1f}" font-size="{0.82 * height:.2f}" '
        f'textLength="{width - 0.24 * height:.1f}" lengthAdjust="spacingAndGlyphs">{escape(box.label.text)}</text>'
    )
