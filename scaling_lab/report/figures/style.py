"""The common style of all figures: sizes, typefaces, colours.

Every colour has a name. Files get the light value. A figure inside a page gets the name as a CSS variable, with the light
value as its fallback. So the page's dark theme applies to figures too (see svg.py and assets/page.css).
"""

from __future__ import annotations

import io
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as MatplotlibFigure

# Series colours: Okabe and Ito's colour-blind-safe palette (https://jfly.uni-koeln.de/color), without yellow, which is
# invisible on white, and with a slate and a violet instead of black. Dark values are lighter, in the same order.
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

WIDE, NARROW = 8.0, 3.7  # inches: a page's column on a desktop (770 px) and on a phone (355 px)
MARKERS = ("o", "s", "D", "^", "v", "<", ">", "h")

PARAMETERS: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],  # ships with matplotlib, so files are the same everywhere
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
    "text.parse_math": False,  # dollar signs in names are literal
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.hashsalt": "scaling_lab",  # makes element ids, and so files, reproducible
    "path.simplify": True,
}


_DOTS, _PIXELS = 128, 96  # per inch: of a notebook's picture, and of a browser


class Figure(MatplotlibFigure):
    """A figure that a notebook shows as a cell's last value, and that savefig writes on white.

    It is outside pyplot's state, so it need not be closed and is not shown twice.
    """

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, bytes], dict[str, Any]]:
        """Return what IPython shows. A bundle precedes the printer registered by pyplot, which has no white background."""
        picture = io.BytesIO()
        self.savefig(picture, format="png", dpi=_DOTS, metadata={"Software": None})
        width, height = (round(_PIXELS * inches) for inches in self.get_size_inches())
        return {"image/png": picture.getvalue()}, {"image/png": {"width": width, "height": height}}

    def savefig(self, fname: Any, **options: Any) -> None:
        """Save as Matplotlib does, in the common style, on white by default, with TrueType fonts in a PDF."""
        with matplotlib.rc_context({**PARAMETERS, "pdf.fonttype": 42}):
            super().savefig(fname, **{"facecolor": PAPER, **options})


def series_colour(series: int) -> str:
    """Return a series' colour; grey for a negative series."""
    return SERIES[series % len(SERIES)] if series >= 0 else REST


def series_marker(series: int) -> str:
    """Return a series' marker, since series must not differ in colour only."""
    return MARKERS[series % len(MARKERS)] if series >= 0 else "o"


def new_figure(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a new figure of a size in inches in the common style, outside pyplot's state, and its axes in order."""
    with matplotlib.rc_context(PARAMETERS):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
    for one in axes.flat:
        one.spines[["top", "right", "left"]].set_visible(False)
        one.grid(axis="y", color=GRID, linewidth=0.8)
    return figure, list(axes.flat)


def title_axis(axes: Axes, *, x: str, y: str) -> None:
    """Label the axes, the vertical one horizontally above it."""
    axes.set_xlabel(x)
    axes.set_title(y, loc="left", fontsize=8.5, color=MUTED, pad=8)
