"""A page as an HTML file, with its figures and tables as files beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure as MatplotlibFigure

from scaling_lab.files import make_folder, write_bytes, write_whole
from scaling_lab.report.page import blocks, svg, table_files
from scaling_lab.report.page.markup import render_page


def write_page(page: blocks.Page, folder: Path, name: str, *, compact: bool = False) -> Path:
    """Write <folder>/<name>.html with figures/ and tables/ beside it, and return the page's path.

    A `compact` page, for a repository, is a single file with all figures and tables, but without the explorer (plotly.js has
    4.8 MB). The page is written last and atomically, so an existing page is complete. Raises WriteError if the folder cannot
    be written.
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
    """Yield all figures of a page, in order."""
    for block in blocks.leaves(page):
        if isinstance(block, blocks.Figure):
            yield block
        elif isinstance(block, blocks.Gallery):
            yield from block.figures
        elif isinstance(block, blocks.Pictures):
            yield block.figure


def tables_of(page: blocks.Page) -> Iterator[blocks.Table]:
    """Yield all tables of a page, in order."""
    for block in blocks.leaves(page):
        if isinstance(block, blocks.Table):
            yield block
        elif isinstance(block, blocks.Explorer):
            yield block.table


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
