"""The figure of several runs' fronts on common axes, with a colour and a marker for each run."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from scaling_lab.metrics import METRICS
from scaling_lab.report.figures.cost_figures import MANY_POINTS, set_log_cost, value_limits
from scaling_lab.report.figures.labels import wrap
from scaling_lab.report.figures.style import (
    INK,
    NARROW,
    PAPER,
    WIDE,
    new_figure,
    series_colour,
    series_marker,
    title_axis,
)

LINES = (
    "solid",
    (0, (5, 1.6)),
    (0, (1.5, 1.2)),
    (0, (6, 1.5, 1.5, 1.5)),
)  # overlapping fronts both stay visible


def fronts_figure(
    points: pd.DataFrame,
    width: float = WIDE,
    *,
    cost: str = "gmacs",
    name: str | None = None,
    band: pd.DataFrame | None = None,
) -> Figure:
    """Draw each run's front of mean AP against a cost on a log axis as steps, and all its architectures as small marks.

    The table has a row for each architecture of each run: run, series, the cost, ap_mean, n, on_front. `band` has run, cost,
    low and high, a run's front with its uncertainty.
    """
    narrow = width <= NARROW
    figure, (axes,) = new_figure(width, 1.05 * width if narrow else 0.52 * width)
    title_axis(axes, x=f"{name or METRICS[cost].axis} (log scale)", y="AP")
    _set_limits(axes, points, cost, band)
    handles = []
    for run, table in points.groupby("run", sort=False):
        series = int(table["series"].iloc[0])
        if band is not None and len(band):
            _draw_band(axes, band[band["run"] == run], series)
        _draw_run(axes, table, cost, series, many=len(points) > MANY_POINTS)
        handles.append(_handle(str(run), series, narrow=narrow, line=bool(table["on_front"].any())))
    figure.legend(
        handles=handles, loc="outside upper left", ncols=1 if narrow else 3, frameon=False, fontsize=8, labelcolor=INK
    )
    return figure


def _set_limits(axes: Axes, points: pd.DataFrame, cost: str, band: pd.DataFrame | None) -> None:
    set_log_cost(axes, float(points[cost].min()), float(points[cost].max()))
    shown = points.assign(ap=points["ap_mean"])
    if band is not None and len(band):
        edges = pd.DataFrame({"ap": points["ap_mean"].mean(), "ap_low": band["low"], "ap_high": band["high"]})
        shown = pd.concat([shown[["ap"]], edges], ignore_index=True)
    else:
        shown = shown.assign(ap_low=shown["ap"], ap_high=shown["ap"])
    axes.set_ylim(*value_limits(shown))
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))


def _draw_band(axes: Axes, band: pd.DataFrame, series: int) -> None:
    """Shade the run's band, clipped to the axis."""
    if band.empty:
        return
    steps = pd.concat([band, band.iloc[[-1]].assign(cost=axes.get_xlim()[1])])
    colour = series_colour(series)
    axes.fill_between(
        steps["cost"], steps["low"], steps["high"], step="post", color=colour, alpha=0.14, linewidth=0, zorder=1
    )


def _draw_run(axes: Axes, table: pd.DataFrame, cost: str, series: int, *, many: bool) -> None:
    colour, marker = series_colour(series), series_marker(series)
    front = table[table["on_front"].astype(bool)].sort_values(cost)
    rest = table[~table["on_front"].astype(bool)]
    axes.scatter(
        rest[cost],
        rest["ap_mean"],
        s=9 if len(front) else 18,
        marker=marker,
        color=colour,
        alpha=0.35 if len(front) else 0.7,
        linewidths=0,
        zorder=2,
        rasterized=many,
    )
    if len(front):
        xs, ys = [float(value) for value in front[cost]], [float(value) for value in front["ap_mean"]]
        style = LINES[series % len(LINES)]
        right = axes.get_xlim()[1]
        axes.step([*xs, right], [*ys, ys[-1]], where="post", color=colour, linewidth=1.4, linestyle=style,
                  zorder=3)  # fmt: skip
    for single, group in front.groupby(front["n"] == 1):
        face, edge, line = (PAPER, colour, 1.4) if single else (colour, PAPER, 0.7)
        axes.scatter(group[cost], group["ap_mean"], s=34, marker=marker, facecolor=face, edgecolor=edge, linewidths=line,
                     zorder=4)  # fmt: skip


def _handle(run: str, series: int, *, narrow: bool, line: bool) -> Line2D:
    return Line2D(
        [], [], color=series_colour(series), marker=series_marker(series), linestyle=LINES[series % len(LINES)] if line else "",
        linewidth=1.4, markersize=5, label=wrap(run, 44 if narrow else 34),
    )  # fmt: skip
