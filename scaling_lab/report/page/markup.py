"""A page as one self-contained HTML document, from templates that escape every text of a block.

Style, scripts and pictures are embedded, and the content security policy forbids all requests. Rendering is
reproducible byte for byte.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from importlib import resources

import jinja2
import plotly.offline
from matplotlib.figure import Figure as MatplotlibFigure

from scaling_lab.report.figures.style import DARK, LIGHT, NARROW, SERIES_DARK
from scaling_lab.report.page import blocks, cells
from scaling_lab.report.page.svg import drawn, inline_svg
from scaling_lab.text import identifier

Draw = Callable[[blocks.Figure, float], MatplotlibFigure]


def render_page(page: blocks.Page, draw: Draw = drawn, *, compact: bool = False) -> str:
    """Return the HTML document; `draw` draws a figure at a width. A compact page has only the explorer's table."""

    def svg(figure: blocks.Figure, width: float, suffix: str) -> str:
        return inline_svg(draw(figure, width), prefix=f"{identifier(figure.name)}{suffix}")

    explores = not compact and any(isinstance(block, blocks.Explorer) for block in blocks.leaves(page))
    values = {"style": _style(), "scripts": _scripts(explores=explores), "svg": svg, "narrow": NARROW}
    return _templates().get_template("page.html").render(page=page, compact=compact, **values)


@functools.cache
def _templates() -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("scaling_lab.report.page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= {
        "example": _example,
        "first_rows": cells.first_rows,
        "identifier": identifier,
        "kind": lambda block: type(block).__name__,
        "pixels": lambda svg: (
            4 / 3 * float(svg.split(maxsplit=4)[3])
        ),  # the width of <svg viewBox="0 0 WIDTH …, which is in points
        "numeric": lambda table: [cells.is_numeric(table, column) for column in table.columns],
        "prose": lambda text: re.sub(r"(?<=\d) %", "\u00a0%", text),  # no line break before a percent sign
        "stored_columns": cells.stored_columns,
    }
    found.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":"), "allow_nan": False}
    return found


def _example(table: blocks.Table) -> str:
    """Return an example for a table's filter: words, and a bound on a numeric column."""
    bounded = next((c.label for c in table.columns if c.digits is not None and " " not in c.label), None)
    return f"words, {bounded}>10" if bounded else "any words"


def _scripts(*, explores: bool) -> list[str]:
    """Return the page's script, and for an explorer plotly.js (4.8 MB) and the explorer's scripts."""
    scripts = [_asset("page.js")]
    if explores:
        scripts += [plotly.offline.get_plotlyjs(), _asset("drawings.js"), _asset("explorer.js")]
    assert not any("</script" in script for script in scripts)
    return scripts


def _style() -> str:
    """Return the style sheet with the light and dark palettes, chosen by the system or by the reader."""
    light, dark = ("".join(f"--{name}:{colour};" for name, colour in each.items()) for each in (LIGHT, DARK))
    boxes = "".join(f"--box-{index}:{colour};" for index, colour in enumerate(SERIES_DARK))
    return (
        f":root{{{light}{boxes}color-scheme:light}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}color-scheme:dark}}}}\n"
        f"@media screen{{:root[data-theme=dark]{{{dark}color-scheme:dark}}}}\n{_asset('page.css')}"
    )


def _asset(name: str) -> str:
    return (resources.files("scaling_lab.report.page") / "assets" / name).read_text(encoding="utf-8")
