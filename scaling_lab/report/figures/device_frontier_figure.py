"""Published AP against a cost on one device, with the front; what was predicted, own detectors, and others in grey."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from scaling_lab.report.figures import labels
from scaling_lab.report.figures.cost_figures import set_log_cost
from scaling_lab.report.figures.cost_marks import Box
from scaling_lab.report.figures.published_fronts_figure import along
from scaling_lab.report.figures.style import (
    INK,
    MUTED,
    NARROW,
    PAPER,
    REST,
    WIDE,
    new_figure,
    series_colour,
    title_axis,
)
from scaling_lab.report.tables import records, require

# By group, in the order of drawing: colour, marker, size, whether hollow.
STYLES = {
    "not measurable here": (REST, "o", 14, False),
    "AP on test-dev or with more data": (MUTED, "x", 24, False),
    "predicted": (series_colour(0), "o", 36, True),
    "measured here": (series_colour(0), "o", 42, False),
    "own detectors": (series_colour(1), "D", 46, False),
}
MOST_LABELS = 14


def device_frontier_figure(table: pd.DataFrame, width: float = WIDE, *, cost: str, axis: str) -> Figure:
    """Draw AP against `cost` on a log axis titled `axis`, and the front as steps.

    Columns: label, group (a key of STYLES), the cost, ap, on_front.
    """
    require(table, "label", "group", cost, "ap", "on_front", source="device_frontier.device_table")
    narrow = width <= NARROW
    figure, (axes,) = new_figure(width, (1.1 if narrow else 0.56) * width)
    title_axis(axes, x=f"{axis} (log scale)", y="COCO AP, as published")
    set_log_cost(axes, float(table[cost].min()), float(table[cost].max()))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    low, high = float(table["ap"].min()), float(table["ap"].max())
    pad = max(0.08 * (high - low), 1.0)
    axes.set_ylim(low - pad, high + pad)
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    handles: list[Line2D] = []
    for group, (colour, marker, size, hollow) in STYLES.items():
        rows = table[table["group"] == group]
        if rows.empty:
            continue
        colours: dict[str, Any] = {"color": colour} if marker == "x" else {
            "facecolor": PAPER if hollow else colour, "edgecolor": colour if hollow else PAPER,
        }  # fmt: skip
        axes.scatter(rows[cost], rows["ap"], s=size, marker=marker, linewidths=1.4 if hollow else 0.8,
                     zorder=3 + len(handles), **colours)  # fmt: skip
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=math.sqrt(size), linestyle="",
                              markerfacecolor=PAPER if hollow else colour, label=group))  # fmt: skip
    front = table[table["on_front"]].sort_values(cost)
    if len(front):
        right = axes.get_xlim()[1]
        axes.step([*front[cost], right], [*front["ap"], front["ap"].iloc[-1]], where="post", color=INK, linewidth=1.1,
                  alpha=0.75, zorder=2.5)  # fmt: skip
        handles.append(Line2D([], [], color=INK, linewidth=1.1, alpha=0.75, label="front"))
    figure.legend(handles=handles[::-1], loc="outside upper left", ncols=2 if narrow else 3, frameon=False, fontsize=8,
                  labelcolor=INK, handletextpad=0.4, columnspacing=1.2)  # fmt: skip
    named = _named(table, front, cost, most=6 if narrow else MOST_LABELS)
    obstacles: list[Box] = [(float(row[cost]), float(row["ap"])) * 2 for row in records(table)]
    obstacles += [box for line in axes.lines for box in along(line)]
    labels.annotate(axes, [(float(row[cost]), float(row["ap"])) for row in named],
                    [labels.wrap(str(row["label"]), 24) for row in named], obstacles=obstacles,
                    size=6.5 if narrow else 8.0, colour=INK)  # fmt: skip
    return figure


def _named(table: pd.DataFrame, front: pd.DataFrame, cost: str, *, most: int) -> list[dict[str, Any]]:
    """Return the rows with a label: own detectors, and points evenly along the front."""
    places: Any = (
        np.unique(np.linspace(0, len(front) - 1, min(most, len(front))).round().astype(int)) if len(front) else []
    )
    return [*records(table[table["group"] == "own detectors"]), *records(front.iloc[places])]
