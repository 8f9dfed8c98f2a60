"""The marks in a figure of AP against a cost: one architecture in its colour, or all others in grey.

They are functions of rows of trials and of axes whose limits are already set.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from scaling_lab.report.figures.style import INK, MUTED, PAPER, REST, series_colour, series_marker

FEW_SEEDS = 8  # up to this many seeds are distinct dots, more are a cloud
SEEDS_BESIDE = 6.5  # points between a mean and its seeds
MOST_INTERVALS = 200  # architectures: beyond this, grey ones have no intervals, which would cover everything

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Marks:
    """Points of one kind that are not results to compare: rows with a cost and ap, and their name for the legend."""

    name: str
    points: pd.DataFrame
    marker: str
    hollow: bool = False
    size: float = 26.0
    many: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Overlay:
    """Marks drawn beside the results in a figure of AP against a cost, with their labels.

    `points` are the rows of all marks; `labels` are theirs, in order, or empty. `front` is the front's name in the legend,
    if it needs one. Marks `beside` are moved slightly right of their cost, clear of means at the same cost.
    """

    marks: tuple[Marks, ...]
    points: pd.DataFrame
    labels: tuple[str, ...] = ()
    front: str = ""
    beside: bool = False


def draw_architecture(
    axes: Axes, label: str, trials: pd.DataFrame, cost: str, *, many: bool, crowded: bool
) -> list[Box]:
    """Draw one architecture's seeds, mean and interval and return their boxes; `many` draws points as a bitmap."""
    first = trials.iloc[0]
    colour, marker = series_colour(int(first["series"])), series_marker(int(first["series"]))
    x, mean = float(first[cost]), float(first["ap_mean"])
    boxes: list[Box] = [(x, mean, x, mean)]
    if len(trials) > 1:
        values = trials["ap"].astype(float).tolist()
        beside = _beside(axes, x)
        few = {"s": 15, "edgecolor": PAPER, "linewidths": 0.5}
        style = few if len(values) <= FEW_SEEDS else {"s": 8, "linewidths": 0, "alpha": 0.4}
        axes.scatter([beside] * len(values), values, color=colour, rasterized=many, zorder=4, **style)
        boxes += [(beside, value, beside, value) for value in values]
    if not math.isnan(float(first["ap_low"])):
        low, high = float(first["ap_low"]), float(first["ap_high"])
        axes.vlines(x, low, high, color=colour, linewidth=1.5, alpha=0.7, zorder=3)
        boxes.append((x, max(low, axes.get_ylim()[0]), x, min(high, axes.get_ylim()[1])))
    if "p90_ms" in trials and not crowded and not math.isnan(float(first["p90_ms"])):
        axes.hlines(mean, x, float(first["p90_ms"]), color=colour, linewidth=1.2, alpha=0.7, zorder=3)
        axes.plot([float(first["p90_ms"])], [mean], marker="|", color=colour, markersize=6, zorder=3)
        boxes.append((x, mean, float(first["p90_ms"]), mean))
    face, edge, line = (PAPER, colour, 1.6) if len(trials) == 1 else (colour, PAPER, 0.8)
    axes.scatter(
        [x], [mean], s=60, marker=marker, facecolor=face, edgecolor=edge, linewidths=line, zorder=5,
        rasterized=many, label=label,
    )  # fmt: skip
    return boxes


def draw_rest(
    axes: Axes, trials: pd.DataFrame, cost: str, *, many: bool, crowded: bool, alone: bool = False
) -> list[Box]:
    """Draw all architectures without a colour of their own, as draw_architecture does, in a few artists.

    `alone` omits seeds and intervals and makes the means small.
    """
    if trials.empty:
        return []
    points = trials.drop_duplicates("label")
    seeds = trials.groupby("label", sort=False)["ap"].transform("size")
    count = seeds[points.index]
    xs, means = points[cost].to_numpy(dtype=float), points["ap_mean"].to_numpy(dtype=float)
    boxes = [np.column_stack([xs, means, xs, means])]
    if not alone:
        for group, style in (
            (trials[(seeds > 1) & (seeds <= FEW_SEEDS)], {"s": 15, "edgecolor": PAPER, "linewidths": 0.5}),
            (trials[seeds > FEW_SEEDS], {"s": 8, "linewidths": 0, "alpha": 0.4}),
        ):
            beside, values = _beside(axes, group[cost].to_numpy(dtype=float)), group["ap"].to_numpy(dtype=float)
            axes.scatter(beside, values, color=REST, rasterized=many, zorder=4, **style)
            boxes.append(np.column_stack([beside, values, beside, values]))
        bars = points[points["ap_low"].notna()]
        axes.vlines(bars[cost], bars["ap_low"], bars["ap_high"], color=REST, linewidth=1.5, alpha=0.7, zorder=3,
                    rasterized=many)  # fmt: skip
        low, high = axes.get_ylim()
        boxes.append(
            np.column_stack([bars[cost], bars["ap_low"].clip(lower=low), bars[cost], bars["ap_high"].clip(upper=high)])
        )
    if "p90_ms" in trials and not crowded:
        ends = points[points["p90_ms"].notna()]
        axes.hlines(ends["ap_mean"], ends[cost], ends["p90_ms"], color=REST, linewidth=1.2, alpha=0.7, zorder=3)
        axes.scatter(ends["p90_ms"], ends["ap_mean"], marker="|", color=REST, s=36, zorder=3)
        boxes.append(np.column_stack([ends[cost], ends["ap_mean"], ends["p90_ms"], ends["ap_mean"]]))
    if alone:
        axes.scatter(xs, means, s=9, color=REST, linewidths=0, alpha=0.5, rasterized=many, zorder=2.5)
    else:
        for chosen, face, edge, line in ((count == 1, PAPER, REST, 1.6), (count > 1, REST, PAPER, 0.8)):
            axes.scatter(
                xs[chosen.to_numpy()], means[chosen.to_numpy()], s=28, facecolor=face, edgecolor=edge, linewidths=line,
                zorder=5, rasterized=many,
            )  # fmt: skip
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in np.concatenate(boxes)]


def draw_overlay(axes: Axes, overlay: Overlay, cost: str, *, columns: int) -> list[Box]:
    """Draw marks in grey, with a legend of `columns` columns above the figure, and return their boxes."""
    handles: list[Line2D] = []
    aside = 1.0 / _beside(axes, 1.0) if overlay.beside else 1.0
    if overlay.front:
        handles.append(Line2D([], [], color=INK, linewidth=1.1, alpha=0.75, label=overlay.front))
    for marks in overlay.marks:
        face: dict[str, Any] = {"facecolor": PAPER, "edgecolor": MUTED} if marks.hollow else {"color": MUTED}
        faint = {"s": 9.0, "alpha": 0.35, "linewidths": 0.6, "zorder": 2.4}
        style: dict[str, Any] = (
            faint if marks.many else {"s": marks.size, "alpha": 0.75, "linewidths": 1.0, "zorder": 2.6}
        )
        axes.scatter(
            aside * marks.points[cost], marks.points["ap"], marker=marks.marker, rasterized=marks.many, **face, **style
        )
        handle = Line2D(
            [], [], color=MUTED, marker=marks.marker, markersize=marks.size**0.5, linestyle="", label=marks.name
        )
        if marks.hollow:
            handle.set_markerfacecolor(PAPER)
        handles.append(handle)
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, frameon=False, fontsize=8, labelcolor=INK,
                  handletextpad=0.4, columnspacing=1.2)  # fmt: skip
    xs, ys = (aside * overlay.points[cost].astype(float)).tolist(), overlay.points["ap"].astype(float).tolist()
    return [(x, y, x, y) for x, y in zip(xs, ys, strict=True)]


def _beside(axes: Axes, cost: Any) -> Any:
    """Return the cost a few points to the left on the page, where seeds hide neither mean nor bar."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    low, high = axes.get_xlim()
    return cost * float((low / high) ** (SEEDS_BESIDE / (0.92 * 72.0 * figure.get_figwidth())))
