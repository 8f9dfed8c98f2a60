"""AP against a cost from published numbers: the paper's families in colours, later detectors and their front in grey."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from scaling_lab.report.figures import labels
from scaling_lab.report.figures.cost_figures import set_log_cost
from scaling_lab.report.figures.cost_marks import Box
from scaling_lab.report.figures.style import (
    INK,
    MUTED,
    NARROW,
    PAPER,
    REST,
    WIDE,
    new_figure,
    series_colour,
    series_marker,
    title_axis,
)
from scaling_lab.report.tables import records, require

SHORT = "EfficientDet-"  # left out of labels
MOST_FRONT_LABELS = 8
LEFT, RIGHT = 1.3, 1.6  # the horizontal axis begins and ends this factor beyond the points
STEPS = 12  # boxes along a line that labels keep clear of


def published_fronts_figure(table: pd.DataFrame, width: float = WIDE, *, cost: str, axis: str) -> Figure:
    """Draw AP against `cost` on a log axis titled `axis`.

    Columns: label, family, series (-1 for later detectors), group, the cost, ap, split, on_front. Points whose AP is on
    test-dev are hollow; later detectors with more data than COCO are crosses.
    """
    require(
        table, "label", "family", "series", "group", cost, "ap", "split", "on_front", source="published_fronts.points"
    )
    narrow = width <= NARROW
    figure, (axes,) = new_figure(width, (1.15 if narrow else 0.62) * width)
    title_axis(axes, x=f"{axis} (log scale)", y="COCO AP")
    set_log_cost(axes, float(table[cost].min()), float(table[cost].max()))
    axes.set_xlim(float(table[cost].min()) / LEFT, float(table[cost].max()) * RIGHT)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    low, high = float(table["ap"].min()), float(table["ap"].max())
    pad = 0.06 * (high - low)
    axes.set_ylim(low - pad, high + pad)
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    later, theirs = table[table["series"] < 0], table[table["series"] >= 0]
    handles = [*_draw_families(axes, theirs, cost), *_draw_later(axes, later, cost)]
    figure.legend(handles=handles, loc="outside upper left", ncols=2 if narrow else 4, frameon=False, fontsize=8,
                  labelcolor=INK, handletextpad=0.4, columnspacing=1.2)  # fmt: skip
    _label(axes, table, cost, size=6.5 if narrow else 8.0, most=3 if narrow else MOST_FRONT_LABELS)
    return figure


def _draw_families(axes: Axes, table: pd.DataFrame, cost: str) -> list[Line2D]:
    """Draw the paper's families, each joined by a line, and return their legend."""
    handles = []
    for family, group in table.groupby("family", sort=False):
        series = int(group["series"].iloc[0])
        colour, marker = series_colour(series), series_marker(series)
        ordered = group.sort_values(cost)
        axes.plot(ordered[cost], ordered["ap"], color=colour, linewidth=1.4, zorder=4)
        for row in records(ordered):
            hollow = row["split"] == "test-dev"
            face, edge = (PAPER, colour) if hollow else (colour, PAPER)
            axes.scatter([row[cost]], [row["ap"]], s=46, marker=marker, facecolor=face, edgecolor=edge,
                         linewidths=1.6 if hollow else 0.8, zorder=5)  # fmt: skip
        alone = bool((ordered["split"] == "test-dev").all())
        handles.append(
            Line2D([], [], color=colour, marker=marker, markersize=6, linewidth=1.4,
                   markerfacecolor=PAPER if alone else colour, label=f"{family}{', test-dev' if alone else ''}")
        )  # fmt: skip
    return handles


def _draw_later(axes: Axes, table: pd.DataFrame, cost: str) -> list[Line2D]:
    """Draw later detectors in grey, with the front of those trained on COCO alone, and return their legend."""
    if table.empty:
        return []
    more = table["group"].str.endswith("more data")
    alone, others = table[~more], table[more]
    axes.scatter(alone[cost], alone["ap"], s=16, color=REST, linewidths=0, zorder=2)
    axes.scatter(others[cost], others["ap"], s=20, marker="x", color=REST, linewidths=1.0, zorder=2)
    front = alone[alone["on_front"]].sort_values(cost)
    right = axes.get_xlim()[1]
    axes.step([*front[cost], right], [*front["ap"], front["ap"].iloc[-1]], where="post", color=MUTED, linewidth=1.1,
              linestyle=(0, (4, 2)), zorder=3)  # fmt: skip
    grey = [
        Line2D([], [], color=MUTED, marker="o", markersize=4, markerfacecolor=REST, markeredgewidth=0,
               linestyle=(0, (3, 2)), linewidth=1.1, label="later, COCO alone, and front"),
        Line2D([], [], color=REST, marker="x", markersize=5, linestyle="", label="later, more data"),
    ]  # fmt: skip
    return grey if len(others) else grey[:1]


def along(line: Line2D) -> list[Box]:
    """Return boxes along a line in data coordinates, straight on a log axis or in steps."""
    xs, ys = (np.asarray(values, dtype=float) for values in line.get_data())
    if line.get_drawstyle() == "steps-post":
        xs, ys = np.repeat(xs, 2)[1:], np.repeat(ys, 2)[:-1]
    places = np.linspace(0, len(xs) - 1, STEPS * (len(xs) - 1) + 1)
    between = np.interp(places, range(len(xs)), np.log(xs)), np.interp(places, range(len(xs)), ys)
    return [(x, y, x, y) for x, y in zip(np.exp(between[0]).tolist(), between[1].tolist(), strict=True)]


def _label(axes: Axes, table: pd.DataFrame, cost: str, *, size: float, most: int) -> None:
    """Name EfficientDet's points, and points evenly along the later front."""
    own = table[table["series"] == 0]
    front = table[(table["series"] < 0) & table["on_front"]].sort_values(cost)
    front = front.iloc[np.unique(np.linspace(0, len(front) - 1, min(most, len(front))).round().astype(int))]
    named = [*records(own), *records(front)]
    texts = [
        *(str(row["label"]).removeprefix(SHORT) for row in records(own)),
        *(labels.wrap(str(row["label"]), 22) for row in records(front)),
    ]
    obstacles: list[Box] = [(float(row[cost]), float(row["ap"])) * 2 for row in records(table)]
    obstacles += [box for line in axes.lines for box in along(line)]
    anchors = [(float(row[cost]), float(row["ap"])) for row in named]
    labels.annotate(axes, anchors, texts, obstacles=obstacles, size=size, colour=INK, muted_from=len(own))
