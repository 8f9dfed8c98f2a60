"""Figures as reproducible bytes: SVG inside a page, and SVG, PDF and PNG files.

Inside a page an SVG's colours become CSS variables, and its text stays selectable in the page's typeface. Its ids get a
prefix, since several figures share one document. In SVG files, text is outlines, which look the same everywhere.
"""

from __future__ import annotations

import io
import re

import matplotlib
from matplotlib.figure import Figure as MatplotlibFigure

from scaling_lab.report.figures.style import LIGHT, PAPER, PARAMETERS
from scaling_lab.report.page import blocks

_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def drawn(figure: blocks.Figure, width: float) -> MatplotlibFigure:
    """Draw a figure at a width in inches and freeze its layout, so that all formats agree."""
    result = figure.draw(figure.table, width)
    if result.get_layout_engine() is not None:
        result.draw_without_rendering()
        result.set_layout_engine("none")
    return result


def svg_file(figure: MatplotlibFigure) -> bytes:
    """Return a stand-alone SVG on white."""
    return _svg(figure, fonttype="path", facecolor=PAPER).encode()


def pdf_file(figure: MatplotlibFigure) -> bytes:
    """Return a PDF on white for papers, with text in embedded TrueType fonts."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({**PARAMETERS, "pdf.fonttype": 42}):
        figure.savefig(
            buffer, format="pdf", facecolor=PAPER, metadata=dict.fromkeys(("CreationDate", "Creator", "Producer"))
        )
    return buffer.getvalue()


def png_file(figure: MatplotlibFigure, *, dpi: int = 200) -> bytes:
    """Return a PNG on white."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(PARAMETERS):
        figure.savefig(buffer, format="png", dpi=dpi, facecolor=PAPER, metadata={"Software": None})
    return buffer.getvalue()


def inline_svg(figure: MatplotlibFigure, *, prefix: str) -> str:
    """Return an <svg> element for a page, its ids starting with the prefix."""
    text = _svg(figure, fonttype="none", facecolor="none")
    text = text[text.index("<svg") :]
    text = _without_excess(re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL))
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}\1)", text)
    for name, colour in LIGHT.items():
        text = re.sub(rf"([:\s]){colour}\b", rf"\1var(--{name}, {colour})", text)
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text).groups()  # type: ignore[union-attr]
    return re.sub(
        r"<svg [^>]*>",
        f'<svg viewBox="0 0 {width} {height}" xmlns:xlink="http://www.w3.org/1999/xlink">',
        text,
        count=1,
    )


def _without_excess(text: str) -> str:
    """Remove what a page does not need: unused ids, font families, digits below 0.01 pt, indentation."""
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))

    def shorten(tag: re.Match[str]) -> str:
        short = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", tag[0])
        short = re.sub(r" font-family: [^;\"]+;", "", short)
        short = re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), short)
        return re.sub(r"\s*\n\s*", " ", short)

    text = re.sub(r"<[^>]+>", shorten, text.replace("base64,\n", "base64,"))
    return re.sub(r">\s+<", "><", text)


def _svg(figure: MatplotlibFigure, *, fonttype: str, facecolor: str) -> str:
    buffer = io.StringIO()
    with matplotlib.rc_context({**PARAMETERS, "svg.fonttype": fonttype}):
        figure.savefig(buffer, format="svg", facecolor=facecolor, metadata=_NO_METADATA)
    return buffer.getvalue()
