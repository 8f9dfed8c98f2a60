"""A page as one self-contained HTML file, with its figures and tables as files beside it. It decides no content.

The file opens from a disk: style, script and pictures are inside it, and its content security policy lets a browser
fetch nothing at all. The same page gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path

import pandas as pd
import plotly.offline
from matplotlib.figure import Figure as MatplotlibFigure

from scaling_lab.files import make_folder, write_bytes, write_whole
from scaling_lab.report.figures import style
from scaling_lab.report.page import blocks, svg, table_files
from scaling_lab.report.page.escaping import escape, identifier
from scaling_lab.report.page.html import Draw, render_all

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def render_page(page: blocks.Page, draw: Draw = svg.drawn, *, compact: bool = False) -> str:
    """Give the whole HTML document; `draw` draws a figure at a width. A compact one has the explorer's table alone."""
    shown = [section for section in page.sections if section.blocks]
    links = "".join(f'<a href="#{identifier(s.title)}">{escape(s.title)}</a>' for s in shown)
    sections = "\n".join(
        f'<section id="{identifier(section.title)}"><h2>{escape(section.title)}</h2>\n'
        f"{render_all(section.blocks, draw, compact=compact)}\n</section>"
        for section in shown
    )
    subtitle = f'<p class="subtitle">{escape(page.subtitle)}</p>' if page.subtitle else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{escape(page.title)}</title>
<style>
{_colours()}
{_asset("page.css")}</style>
</head>
<body>
<header><div class="top"><p class="kind">scaling_lab report</p>
<button type="button" id="theme" hidden>Theme: system</button></div>
<h1>{escape(page.title)}</h1>
<p class="question">{escape(page.question)}</p>{subtitle}</header>
<nav aria-label="Sections">{links}</nav>
<main>
{sections}
</main>
{_scripts(page, compact=compact)}
</body>
</html>
"""


def write_page(page: blocks.Page, folder: Path, name: str, *, compact: bool = False) -> Path:
    """Write <folder>/<name>.html, and figures/ and tables/ beside it; give the page's path.

    A `compact` page, for a repository, is the one file: all figures and tables are in it, but no explorer (plotly.js has
    4.8 MB), and nothing stands beside it. Raises WriteError where the folder cannot be written. The page comes last and in
    one move, so a page that is there is whole.
    """
    files = {figure: svg.drawn(figure, figure.width) for figure in figures_of(page)}

    def draw(figure: blocks.Figure, width: float) -> MatplotlibFigure:
        return files[figure] if width == figure.width else svg.drawn(figure, width)

    make_folder(folder)
    if not compact:
        for figure in files:
            _write_figure(figure, files[figure], folder / "figures")
        for table in tables_of(page):
            _write_table(table, folder / "tables")
    path = folder / f"{name}.html"
    write_whole(path, render_page(page, draw, compact=compact))
    return path


def figures_of(page: blocks.Page) -> Iterator[blocks.Figure]:
    """Give all figures of a page, in order."""
    for block in _leaves(page):
        if isinstance(block, blocks.Figure):
            yield block
        elif isinstance(block, blocks.Gallery):
            yield from block.figures
        elif isinstance(block, blocks.Pictures):
            yield block.figure


def tables_of(page: blocks.Page) -> Iterator[blocks.Table]:
    """Give all tables of a page, in order."""
    for block in _leaves(page):
        if isinstance(block, blocks.Table):
            yield block
        elif isinstance(block, blocks.Explorer):
            yield block.table


def _leaves(page: blocks.Page) -> Iterator[blocks.Block]:
    def walk(parts: Iterable[blocks.Block]) -> Iterator[blocks.Block]:
        for block in parts:
            if isinstance(block, blocks.Details):
                yield from walk(block.blocks)
            else:
                yield block

    for section in page.sections:
        yield from walk(section.blocks)


def _write_table(table: blocks.Table, folder: Path) -> None:
    make_folder(folder)
    path = folder / f"{table.name}.csv"
    write_whole(path, _csv(table.frame))
    write_whole(path.with_suffix(".tex"), table_files.latex(table))
    write_whole(path.with_suffix(".md"), table_files.markdown(table))


def _write_figure(figure: blocks.Figure, drawn: MatplotlibFigure, folder: Path) -> None:
    make_folder(folder)
    write_bytes(folder / f"{figure.name}.svg", svg.svg_file(drawn))
    write_bytes(folder / f"{figure.name}.pdf", svg.pdf_file(drawn))
    write_bytes(folder / f"{figure.name}.png", svg.png_file(drawn))
    write_whole(folder / f"{figure.name}.csv", _csv(figure.table))


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, lineterminator="\n")


def _scripts(page: blocks.Page, *, compact: bool) -> str:
    """Give the page's own script, and where it has something to explore plotly.js, 4.8 MB, and what draws with it."""
    scripts = [_asset("page.js")]
    if not compact and any(isinstance(block, blocks.Explorer) for block in _leaves(page)):
        scripts += [plotly.offline.get_plotlyjs(), _asset("drawings.js"), _asset("explorer.js")]
    assert not any("</script" in script for script in scripts)
    return "\n".join(f"<script>\n{script}</script>" for script in scripts)


def _colours() -> str:
    """Give the palette as CSS variables: light, dark by the system's wish, and either by the reader's choice."""
    light = "".join(f"--{name}:{colour};" for name, colour in style.LIGHT.items())
    dark = "".join(f"--{name}:{colour};" for name, colour in style.DARK.items())
    boxes = "".join(f"--box-{index}:{colour};" for index, colour in enumerate(style.SERIES_DARK))
    return (
        f":root{{{light}{boxes}color-scheme:light}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}color-scheme:dark}}}}\n"
        f"@media screen{{:root[data-theme=dark]{{{dark}color-scheme:dark}}}}"
    )


def _asset(name: str) -> str:
    return (resources.files("scaling_lab.report.page") / "assets" / name).read_text(encoding="utf-8")
