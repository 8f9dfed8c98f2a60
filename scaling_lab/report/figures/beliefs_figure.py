"""The figure of predicted against found values of a search's trials, a function of a table and a width in inches."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from scaling_lab.report.figures.style import GRID, INK, NARROW, PAPER, REST, SERIES, WIDE, new_figure, title_axis
from scaling_lab.report.tables import require

INSIDE, OUTSIDE = SERIES[0], SERIES[1]
FIRST, FURTHER = "o", "D"
SMALLEST, LARGEST = 8.0, 70.0  # marks of the first and the last trial, in square points
MOST_BARS = 200  # trials: intervals of more would be a grey cloud


def beliefs_figure(trials: pd.DataFrame, width: float = WIDE, *, name: str = "AP") -> Figure:
    """Draw found against predicted values with the predictions' intervals and the diagonal; larger marks are later trials.

    The table has a row for each trial: order, predicted, low, high, found, is_further (a further seed of an architecture).
    """
    require(
        trials,
        "order",
        "predicted",
        "low",
        "high",
        "found",
        "is_further",
        source="search_beliefs(runs, frontier).trials",
    )
    narrow = width <= NARROW
    figure, (axes,) = new_figure(width, (1.15 if narrow else 0.62) * width)
    title_axis(axes, x=f"{name} predicted from other architectures, with 95 % interval", y=f"{name} found")
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    low, high = _limits(trials)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.plot([low, high], [low, high], color=INK, linewidth=1.0, alpha=0.75, zorder=2)
    for which in ("x", "y"):
        getattr(axes, f"{which}axis").set_major_locator(MaxNLocator(5 if narrow else 8, steps=[1, 2, 5, 10]))
    is_inside = trials["found"].between(trials["low"], trials["high"])
    sizes = SMALLEST + (LARGEST - SMALLEST) * trials["order"] / trials["order"].max()
    for colour, mask in ((INSIDE, is_inside), (OUTSIDE, ~is_inside)):
        _draw(axes, trials[mask], sizes[mask], colour, bars=len(trials) <= MOST_BARS)
    figure.legend(handles=_legend(trials, is_inside), loc="outside upper left", ncols=2 if narrow else 4, frameon=False,
                  fontsize=8, labelcolor=INK)  # fmt: skip
    return figure


def _limits(trials: pd.DataFrame) -> tuple[float, float]:
    """Return the limits of both axes: all found and predicted values, and intervals as far as they keep these legible."""
    values = trials[["found", "predicted"]].to_numpy()
    low, high = float(values.min()), float(values.max())
    span = max(high - low, 1.0)
    low, high = max(float(trials["low"].min()), low - 0.3 * span), min(float(trials["high"].max()), high + 0.3 * span)
    low, high = min(low, float(values.min())), max(high, float(values.max()))
    return low - 0.04 * span, high + 0.04 * span


def _draw(axes: Axes, trials: pd.DataFrame, sizes: pd.Series[float], colour: str, *, bars: bool) -> None:
    if bars:
        axes.hlines(trials["found"], trials["low"], trials["high"], colors=colour, linewidth=1.0, alpha=0.3, zorder=3)
    for marker, mask in ((FIRST, ~trials["is_further"]), (FURTHER, trials["is_further"])):
        face, edge = (PAPER, colour) if marker == FURTHER else (colour, PAPER)
        axes.scatter(trials.loc[mask, "predicted"], trials.loc[mask, "found"], s=sizes[mask], marker=marker, facecolor=face,
                     edgecolor=edge, linewidths=1.2 if marker == FURTHER else 0.7, zorder=5)  # fmt: skip


def _legend(trials: pd.DataFrame, is_inside: pd.Series[bool]) -> list[Line2D]:
    """Return the entries that occur among the trials."""
    entries = [
        (~trials["is_further"] & is_inside, "found within the interval", FIRST, INSIDE, INSIDE),
        (~is_inside, "outside it", FIRST, OUTSIDE, OUTSIDE),
        (trials["is_further"], "further seed", FURTHER, PAPER, INSIDE),
    ]
    sizes = [
        (f"trial {int(order):,}", size)
        for order, size in ((trials["order"].min(), SMALLEST), (trials["order"].max(), LARGEST))
    ]
    found = [Line2D([], [], marker=marker, color=edge, markerfacecolor=face, linestyle="none", markersize=6, label=name)
             for mask, name, marker, face, edge in entries if mask.any()]  # fmt: skip
    return [*found, *(Line2D([], [], marker=FIRST, color=REST, linestyle="none", markersize=float(np.sqrt(size)), label=name)
                      for name, size in sizes)]  # fmt: skip
