"""The figures of trials, each a function of a table and a width in inches.

from scaling_lab.report import compute_frontier
from scaling_lab.report.figures.cost_figures import cost_figure
cost_figure(compute_frontier(Runs("runs/x")).trials)

A table can be filtered, joined and renamed before it is drawn. notebook.py exports all figures.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from scaling_lab.metrics import METRICS
from scaling_lab.report.figures import labels
from scaling_lab.report.figures.cost_marks import (
    MOST_INTERVALS,
    Box,
    Overlay,
    draw_architecture,
    draw_overlay,
    draw_rest,
)
from scaling_lab.report.figures.style import (
    GRID,
    INK,
    MUTED,
    NARROW,
    PAPER,
    REST,
    SERIES,
    WIDE,
    new_figure,
    series_colour,
    series_marker,
    title_axis,
)
from scaling_lab.report.tables import records, require
from scaling_lab.report.ticks import log_ticks
from scaling_lab.text import significant

MOST_LABELS = 14
LEAST_SPAN = 4.0  # AP: an axis spans at least this
MANY_POINTS = 2000  # beyond this the points are one bitmap, to limit the page's size
PART_NAMES = {"backbone": "backbone", "feature_network": "feature network", "heads": "heads"}


# --- accuracy against cost -------------------------------------------------------------------------------------------


def cost_figure(
    trials: pd.DataFrame,
    width: float = WIDE,
    *,
    cost: str = "gmacs",
    name: str | None = None,
    band: pd.DataFrame | None = None,
    overlay: Overlay | None = None,
) -> Figure:
    """Draw AP against a cost on a log axis: a dot for each trial, each architecture's mean and interval, and the front.

    The table has a row for each trial: label, series (a colour's number, -1 for grey), ap, ap_mean, ap_low, ap_high (nan
    without an interval), on_front (see frontier.with_front) and the cost's column. `band` has cost, low and high, the
    front with its uncertainty. `overlay` has marks that are not results to compare.
    """
    columns = ("label", "series", "ap", "ap_mean", "ap_low", "ap_high", "on_front", cost)
    require(trials, *columns, source="compute_frontier(runs).trials")
    narrow = width <= NARROW
    figure, (axes,) = new_figure(width, 0.95 * width if narrow else 0.52 * width)
    title_axis(axes, x=f"{name or METRICS[cost].axis} (log scale)", y="AP")
    points = trials.drop_duplicates("label")
    _set_limits(axes, trials if overlay is None else _with_overlay(trials, overlay, cost), cost)
    if band is not None and len(band):
        _draw_band(axes, band)
    obstacles = _draw_front(axes, points[points["on_front"]].sort_values(cost), cost)
    many, crowded = len(trials) > MANY_POINTS, len(points) > MOST_LABELS
    is_rest = trials["series"] < 0
    alone = len(points) > MOST_INTERVALS
    obstacles += draw_rest(axes, trials[is_rest], cost, many=many, crowded=crowded, alone=alone)
    for label, group in trials[~is_rest].groupby("label", sort=False):
        obstacles += draw_architecture(axes, str(label), group, cost, many=many, crowded=crowded)
    if overlay is not None:
        obstacles += draw_overlay(axes, overlay, cost, columns=1 if narrow else 2)
    _label_points(axes, points, cost, obstacles, size=7.5 if narrow else 8.5, overlay=overlay, most=3 if narrow else 9)
    return figure


def _with_overlay(trials: pd.DataFrame, overlay: Overlay, cost: str) -> pd.DataFrame:
    """Return the rows that the axes must show."""
    others = overlay.points[[cost, "ap"]].assign(ap_low=math.nan, ap_high=math.nan)
    return pd.concat([trials[[cost, "ap", "ap_low", "ap_high"]], others], ignore_index=True)


def latency_figure(trials: pd.DataFrame, width: float = WIDE, *, name: str = METRICS["latency_ms"].axis) -> Figure:
    """Draw AP against the median latency, as cost_figure does; the whisker reaches the 90th percentile (p90_ms)."""
    return cost_figure(trials, width, cost="latency_ms", name=name)


def _set_limits(axes: Axes, trials: pd.DataFrame, cost: str) -> None:
    costs = trials[cost].astype(float)
    low, high = float(costs.min()), float(costs.max())
    if "p90_ms" in trials:
        high = max(high, float(trials["p90_ms"].max()))
    set_log_cost(axes, low, high)
    bottom, top = value_limits(trials)
    axes.set_ylim(bottom, top)
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))


def set_log_cost(axes: Axes, low: float, high: float) -> None:
    """Make the horizontal axis logarithmic, from `low` to `high` with a margin, with ticks at round numbers."""
    pad = (high / low) ** 0.12 if high > 1.001 * low else 1.2
    axes.set_xscale("log")
    axes.set_xlim(low / pad, high * pad)
    axes.xaxis.set_major_locator(FixedLocator(log_ticks(low / pad, high * pad)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def value_limits(trials: pd.DataFrame) -> tuple[float, float]:
    """Return AP limits that show every trial, and as much of the intervals as keeps trials legible."""
    low, high = float(trials["ap"].min()), float(trials["ap"].max())
    span = max(high - low, 1.0)
    bottom = np.nanmin([low, max(float(np.nan_to_num(trials["ap_low"].min(), nan=low)), low - 0.6 * span)])
    top = np.nanmax([high, min(float(np.nan_to_num(trials["ap_high"].max(), nan=high)), high + 0.6 * span)])
    pad = max(0.10 * float(top - bottom), 0.5 * (LEAST_SPAN - float(top - bottom)))
    least = (
        -0.04 * (float(top) + pad) if low >= 0 else -math.inf
    )  # AP is never negative, but a mark at 0 must be fully visible
    return max(least, float(bottom) - pad), float(top) + pad


def _draw_band(axes: Axes, band: pd.DataFrame) -> None:
    """Shade the band of the front, clipped to the axis."""
    end = band.iloc[[-1]].assign(cost=axes.get_xlim()[1])
    steps = pd.concat([band, end])
    axes.fill_between(
        steps["cost"], steps["low"], steps["high"], step="post", color=REST, alpha=0.22, linewidth=0, zorder=1
    )


def _draw_front(axes: Axes, front: pd.DataFrame, cost: str) -> list[Box]:
    """Draw the front as steps, the highest mean AP up to each cost, and return the lines' boxes."""
    if front.empty:
        return []
    xs = [float(value) for value in front[cost]]
    ys = [float(value) for value in front["ap_mean"]]
    right = axes.get_xlim()[1]
    axes.step([*xs, right], [*ys, ys[-1]], where="post", color=INK, linewidth=1.1, zorder=2, alpha=0.75)
    corners = [*zip(xs, ys, strict=True), (right, ys[-1])]
    boxes: list[Box] = []
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        boxes += [(x0, y0, x1, y0), (x1, y0, x1, y1)]
    return boxes


def _label_points(
    axes: Axes,
    points: pd.DataFrame,
    cost: str,
    obstacles: list[Box],
    *,
    size: float,
    overlay: Overlay | None = None,
    most: int = 0,
) -> None:
    """Write each architecture's name beside its mean, those on the front first; if there are too many, only those.

    Then follow the first `most` names of the overlay, in italics.
    """
    ordered = points.sort_values(["on_front", "ap_mean"], ascending=False, kind="stable")
    if len(ordered) > MOST_LABELS:
        ordered = ordered[ordered["on_front"]].head(MOST_LABELS // 2)
    anchors = [(float(row[cost]), float(row["ap_mean"])) for row in records(ordered)]
    texts = [labels.wrap(str(label)) for label in ordered["label"]]
    own = len(texts)
    if overlay is not None and overlay.labels:
        theirs = zip(records(overlay.points), overlay.labels, strict=True)
        shown = list(theirs)[:most]
        anchors += [(float(row[cost]), float(row["ap"])) for row, _ in shown]
        texts += [label for _, label in shown]
    labels.annotate(axes, anchors, texts, obstacles=obstacles, size=size, colour=INK, muted_from=own)


# --- cost by part, and differences -----------------------------------------------------------------------------------


def parts_figure(architectures: pd.DataFrame, width: float = WIDE) -> Figure:
    """Draw each architecture's GMACs as a bar of backbone, feature network and heads, the highest at the bottom.

    Columns: label, gmacs, gmacs_backbone, gmacs_feature_network, gmacs_heads.
    """
    parts = [f"gmacs_{part}" for part in PART_NAMES]
    require(architectures, "label", "gmacs", *parts, source="compute_frontier(runs).architectures")
    narrow = width <= NARROW
    table = architectures.sort_values(["gmacs", "label"], ascending=[False, False])
    figure, (axes,) = new_figure(width, 1.0 + (0.42 if narrow else 0.27) * len(table))
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_xlabel("GMACs per image")
    positions = list(range(len(table)))
    left = np.zeros(len(table))
    for (part, name), colour in zip(PART_NAMES.items(), (REST, SERIES[0], SERIES[4]), strict=True):
        values = table[f"gmacs_{part}"].fillna(0.0).to_numpy(dtype=float)
        axes.barh(positions, values, left=left, height=0.62, color=colour, label=name, linewidth=0)
        left = left + values
    axes.set_xlim(0.0, float(left.max()) * 1.16 or 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(4 if narrow else 8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    for position, total in zip(positions, left, strict=True):
        axes.annotate(
            significant(total),
            (total, position),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=MUTED,
        )
    axes.set_yticks(positions, [labels.wrap(str(label), 20 if narrow else 40) for label in table["label"]], color=INK)
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=8, handlelength=1.0, handleheight=1.0,
                  labelcolor=INK)  # fmt: skip
    return figure


def difference_figure(differences: pd.DataFrame, width: float = WIDE, *, baseline: str = "the baseline") -> Figure:
    """Draw each architecture's difference in AP from the baseline with its interval, the first row at the top.

    Columns: label, difference, low, high (nan without an interval: a hollow mark) and, for colours, series.
    """
    require(differences, "label", "difference", "low", "high", source="ablation.compare")
    narrow = width <= NARROW
    table = differences.iloc[::-1]
    table = table if "series" in table else table.assign(series=0)
    figure, (axes,) = new_figure(width, 0.9 + (0.44 if narrow else 0.32) * len(table))
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_xlabel(f"AP minus that of {labels.wrap(baseline, 26 if narrow else 60)}")
    axes.axvline(0.0, color=INK, linewidth=1.0, zorder=1)
    for position, row in enumerate(records(table)):
        colour = series_colour(int(row["series"]))
        if not math.isnan(float(row["low"])):
            axes.hlines(position, float(row["low"]), float(row["high"]), color=colour, linewidth=2.0, zorder=2)
        hollow = math.isnan(float(row["low"]))
        face, edge = (PAPER, colour) if hollow else (colour, PAPER)
        axes.scatter(
            [float(row["difference"])], [position], s=64, marker=series_marker(int(row["series"])),
            facecolor=face, edgecolor=edge, linewidths=1.6 if hollow else 1.0, zorder=3,
        )  # fmt: skip
    axes.set_ylim(-0.6, len(table) - 0.4)
    axes.set_yticks(
        range(len(table)), [labels.wrap(str(label), 20 if narrow else 40) for label in table["label"]], color=INK
    )
    axes.xaxis.set_major_locator(MaxNLocator(5 if narrow else 8))
    return figure
