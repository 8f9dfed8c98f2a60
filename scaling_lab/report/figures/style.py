"""The one look of all figures: sizes, type, colours. It draws nothing.

Every colour has a name. Files get the light value; a figure inside a page gets the name as a CSS variable with the
light value as its fallback, so that the page's dark theme reaches into the figures (see svg.py and assets/page.css).
"""

from __future__ import annotations

import io
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as MatplotlibFigure

# Series colours: Okabe and Ito's colour-blind-safe palette (https://jfly.uni-koeln.de/color), without its yellow, which
# does not show on white, and with a slate and a violet in place of black. The dark values are lighter, same order.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6a51a3", "#475467")
SERIES_DARK = ("#4aa3df", "#ff8a4c", "#2fc79a", "#e79ac6", "#f2b84b", "#8fd3ff", "#a99be8", "#a3aec2")
INK, MUTED, GRID, PAPER, REST = "#1b2330", "#5f6b7c", "#e3e7ee", "#fffffe", "#98a2b3"
INK_DARK, MUTED_DARK, GRID_DARK, PAPER_DARK, REST_DARK = "#e8ecf3", "#9aa7ba", "#2b3444", "#151b25", "#67748a"

LIGHT = {"ink": INK, "muted": MUTED, "grid": GRID, "paper": PAPER, "rest": REST} | {
    f"series-{index}": colour for index, colour in enumerate(SERIES)
}
DARK = {"ink": INK_DARK, "muted": MUTED_DARK, "grid": GRID_DARK, "paper": PAPER_DARK, "rest": REST_DARK} | {
    f"series-{index}": colour for index, colour in enumerate(SERIES_DARK)
}

WIDE, NARROW = 8.0, 3.7  # inches: a page's column on a desk (770 px) and on a phone (355 px)
MARKERS = ("o", "s", "D", "^", "v", "<", ">", "h")

PARAMETERS: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],  # ships with matplotlib, so that files are the same everywhere
    "font.size": 8.5,
    "axes.labelsize": 8.5,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": REST,
    "axes.linewidth": 0.8,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.formatter.use_mathtext": False,
    "text.color": INK,
    "text.parse_math": False,  # a name with dollar signs is a name
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.hashsalt": "scaling_lab",  # element ids are hashes: the same figure, the same bytes
    "path.simplify": True,
}


_DOTS, _PIXELS = 128, 96  # an inch: those of a notebook's picture, and how large a browser shows an inch


class Figure(MatplotlibFigure):
    """A figure that a notebook shows where it is a cell's last value, and that savefig writes on white.

    It is outside pyplot's state, so that nothing has to be closed and nothing is shown twice.
    """

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, bytes], dict[str, Any]]:
        """Give what IPython shows. A bundle, because it goes before the printer that pyplot registers, which has no white."""
        picture = io.BytesIO()
        self.savefig(picture, format="png", dpi=_DOTS, metadata={"Software": None})
        width, height = (round(_PIXELS * inches) for inches in self.get_size_inches())
        return {"image/png": picture.getvalue()}, {"image/png": {"width": width, "height": height}}

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write it as Matplotlib does, in the common style, on white unless a `facecolor` is given, with whole fonts in a PDF."""
        with matplotlib.rc_context({**PARAMETERS, "pdf.fonttype": 42}):
            super().savefig(fname, **{"facecolor": PAPER, **options})


def series_colour(series: int) -> str:
    """Give a series' colour; series below 0 are the rest, in grey."""
    return SERIES[series % len(SERIES)] if series >= 0 else REST


def series_marker(series: int) -> str:
    """Give a series' marker, so that colour is never the only difference."""
    return MARKERS[series % len(MARKERS)] if series >= 0 else "o"


def new_figure(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Make a figure of that size in inches in the common style, outside pyplot's state; give its axes in order."""
    with matplotlib.rc_context(PARAMETERS):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
    for one in axes.flat:
        one.spines[["top", "right", "left"]].set_visible(False)
        one.grid(axis="y", color=GRID, linewidth=0.8)
    return figure, list(axes.flat)


def title_axis(axes: Axes, *, x: str, y: str) -> None:
    """Name the axes, the vertical one in a line above it, where it reads without turning the head."""
    axes.set_xlabel(x)
    axes.set_title(y, loc="left", fontsize=8.5, color=MUTED, pad=8)
