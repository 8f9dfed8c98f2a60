"""The figures of a grid over one parameter, each a function of a table and a width in inches."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from scaling_lab.report.figures.style import (
    GRID,
    INK,
    MUTED,
    NARROW,
    PAPER,
    SERIES,
    WIDE,
    new_figure,
    series_colour,
    series_marker,
    title_axis,
)
from scaling_lab.report.tables import records, require


def grid_figure(
    table: pd.DataFrame, width: float = WIDE, *, name: str = "value", scale: str = "phi", paper: float | None = None
) -> Figure:
    """Draw AP by value with seeds and intervals, a line for each scale, and GMACs below; `paper` is marked.

    The table has a row for each value and scale: value, scale (numbers or words), ap_mean, ap_low, ap_high (nan without an
    interval), aps (a list with one for each seed), gmacs. `name` and `scale` are the names of the two.
    """
    require(table, "value", "scale", "ap_mean", "ap_low", "ap_high", "aps", "gmacs", source="grid.grid_table")
    narrow = width <= NARROW
    figure, (above, below) = new_figure(width, (1.15 if narrow else 0.72) * width, columns=1, rows=2)
    title_axis(above, x="", y="AP")
    title_axis(below, x=name, y="GMACs per image")
    steps = table["value"].drop_duplicates().sort_values().diff().dropna()
    step = float(steps.min()) if len(steps) else 0.0
    for place, (at, rows) in enumerate(table.groupby("scale", sort=True)):
        colour, marker = series_colour(place), series_marker(place)
        above.plot(rows["value"], rows["ap_mean"], color=colour, linewidth=1.2, alpha=0.8, zorder=3)
        for row in records(rows):
            _draw_value(above, row, colour, marker, beside=0.12 * step)
        below.plot(rows["value"], rows["gmacs"], color=colour, linewidth=1.2, marker=marker, markersize=5, zorder=3,
                   label=_scale_name(scale, at))  # fmt: skip
    for axes in (above, below):
        _mark_values(axes, table, paper)
    below.set_ylim(bottom=0.0)
    below.set_xlim(above.get_xlim())
    if table["scale"].nunique() > 1:
        figure.legend(*below.get_legend_handles_labels(), loc="outside upper right", ncols=4, frameon=False, fontsize=8,
                      labelcolor=INK)  # fmt: skip
    return figure


def _scale_name(scale: str, at: Any) -> str:
    return at if isinstance(at, str) else f"{scale} {float(at):g}"


def best_figure(
    chances: pd.DataFrame, width: float = WIDE, *, name: str = "value", paper: float | None = None
) -> Figure:
    """Draw the `probability` of each `value` as a bar, the paper's value in its own colour."""
    figure, (axes,) = new_figure(width, (0.6 if width <= NARROW else 0.3) * width)
    title_axis(axes, x=name, y="probability of being the best, %")
    places = range(len(chances))
    colours = [SERIES[1] if value == paper else SERIES[0] for value in chances["value"]]
    axes.bar(places, 100 * chances["probability"], width=0.6, color=colours, linewidth=0, zorder=2)
    for place, chance in zip(places, chances["probability"], strict=True):
        axes.annotate(f"{100 * chance:.0f} %", (place, 100 * chance), (0, 3), textcoords="offset points", ha="center",
                      fontsize=8, color=MUTED)  # fmt: skip
    words = [f"{value:g}" + ("\nthe paper's" if value == paper else "") for value in chances["value"]]
    axes.set_xticks(list(places), words)
    axes.set_ylim(0.0, 112 * float(chances["probability"].max()))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    return figure


def _draw_value(axes: Axes, row: dict[str, Any], colour: str, marker: str, *, beside: float) -> None:
    x, mean, low, aps = float(row["value"]), float(row["ap_mean"]), float(row["ap_low"]), row["aps"]
    if len(aps) > 1:
        axes.scatter([x - beside] * len(aps), aps, s=13, color=colour, edgecolor=PAPER, linewidths=0.5, zorder=4)
    if not math.isnan(low):
        axes.vlines(x, low, float(row["ap_high"]), color=colour, linewidth=1.5, alpha=0.7, zorder=3)
    hollow = len(aps) == 1
    face, edge = (PAPER, colour) if hollow else (colour, PAPER)
    axes.scatter(
        [x], [mean], s=50, marker=marker, facecolor=face, edgecolor=edge, linewidths=1.6 if hollow else 0.8, zorder=5
    )


def _mark_values(axes: Axes, table: pd.DataFrame, paper: float | None) -> None:
    axes.set_xticks(sorted(set(table["value"])))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    if paper is not None:
        axes.axvline(paper, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
