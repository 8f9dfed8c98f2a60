"""The figure of fusion weights by epoch: a panel for each node, a line for each input, averaged over seeds."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from scaling_lab.report.figures import labels
from scaling_lab.report.figures.style import INK, MUTED, NARROW, WIDE, new_figure, series_colour
from scaling_lab.report.tables import require

MOST_NODES = 24
DASHES = (0, (3.2, 1.6))
LEAST_SPAN = 0.4  # of weights: an axis spans at least this
LABEL_ROOM = 0.30  # share of the axes' width at the right, for the names of the lines


def fusion_weights_figure(table: pd.DataFrame, width: float = WIDE, *, together: bool = False) -> Figure:
    """Draw normalised weights by epoch, a panel for each node; `together` draws fast solid and softmax dashed.

    The table has a row for each trial, epoch, node and input: trial, epoch, cell, node, level, input, input_name, weight,
    fusion. Trials are averaged: the table has one architecture, or two that differ only in fusion.
    """
    drawn = ("trial", "epoch", "cell", "node", "level", "input", "input_name", "weight", "fusion")
    require(table, *drawn, source="fusion_weights.weights_table")
    narrow = width <= NARROW
    nodes = list(table.groupby(["cell", "node", "level"], sort=True))[:MOST_NODES]
    columns = min(2 if narrow else 4, len(nodes))
    rows = -(-len(nodes) // columns)
    figure, panels = new_figure(width, 0.5 + 1.45 * rows, columns, rows)
    limits = weight_limits(table)
    size = 6.5 if narrow else 7.0
    for place, (axes, ((cell, node, level), group)) in enumerate(zip(panels, nodes, strict=False)):
        axes.set_title(f"cell {cell}, P{level} (node {node})", loc="left", fontsize=size + 0.5, color=MUTED, pad=4)
        axes.set_ylim(*limits)
        _draw_node(axes, group, together=together, size=size)
        axes.tick_params(labelsize=size)
        axes.tick_params(labelleft=place % columns == 0)
        if place + columns >= len(nodes):
            axes.set_xlabel("epoch", fontsize=size + 0.5)
    for axes in panels[len(nodes) :]:
        axes.set_visible(False)
    if together:
        lines = [Line2D([], [], color=INK, linestyle=style, linewidth=1.5) for style in ("-", DASHES)]
        names = ["fast fusion", "softmax fusion"]
        figure.legend(lines, names, loc="outside upper left", ncols=2, frameon=False, fontsize=8, labelcolor=INK)
    return figure


def weight_limits(table: pd.DataFrame) -> tuple[float, float]:
    """Return common limits of all panels: all weights, at least LEAST_SPAN, within 0 and 1 if the weights are."""
    low, high = float(table["weight"].min()), float(table["weight"].max())
    pad = max(0.06 * (high - low), 0.5 * (LEAST_SPAN - (high - low)))
    bottom, top = (low if low < 0.0 else max(0.0, low - pad)), (high if high > 1.0 else min(1.0, high + pad))
    return bottom - 0.02, top + 0.02


def _draw_node(axes: Axes, group: pd.DataFrame, *, together: bool, size: float) -> None:
    """Draw the weights of one node's inputs, named at the ends of the lines."""
    names, ends = [], []
    for series, (_, own) in enumerate(group.groupby("input", sort=False)):
        colour = series_colour(series)
        for fusion, lines in own.groupby("fusion", sort=True):
            style: Any = DASHES if together and "softmax" in str(fusion) else "-"
            if lines["trial"].nunique() > 1:
                for _, seed in lines.groupby("trial", sort=True):
                    axes.plot(seed["epoch"], seed["weight"], color=colour, linewidth=0.6, alpha=0.35, linestyle=style)
            mean = lines.groupby("epoch")["weight"].mean()
            marker = "o" if len(mean) == 1 else None
            axes.plot(mean.index, mean, color=colour, linewidth=1.6, linestyle=style, marker=marker, markersize=3)
        names.append((str(own["input_name"].iloc[0]), colour))
        ends.append(float(own.loc[own["epoch"] == own["epoch"].max(), "weight"].mean()))
    first, last = float(group["epoch"].min()), float(group["epoch"].max())
    span = max(last - first, 0.5)
    axes.set_xlim(first - 0.04 * span, last + span * LABEL_ROOM / (1.0 - LABEL_ROOM))
    ticks = MaxNLocator(4, integer=True, min_n_ticks=1).tick_values(first, last)
    axes.set_xticks([tick for tick in ticks if first <= tick <= last and tick == round(tick)])
    low, high = axes.get_ylim()
    heights = labels.spread(ends, 0.13 * (high - low), low, high)
    above = sum(heights) / len(heights) - sum(ends) / len(
        ends
    )  # spread moves labels up; this centres them on their lines
    for (name, colour), height in zip(names, heights, strict=True):
        axes.text(last + 0.05 * span, height - above, name, color=colour, fontsize=size, va="center")
