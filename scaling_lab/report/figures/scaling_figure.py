"""The figure of scaling laws, a function of tables and a width in inches."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

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
from scaling_lab.report.tables import records, require
from scaling_lab.report.ticks import log_ticks


def scaling_figure(points: pd.DataFrame, curves: pd.DataFrame, width: float = WIDE) -> Figure:
    """Draw architectures and the laws fitted to them; a law is dashed beyond the highest cost.

    A law without an interval is dotted and ends at the highest cost. `points` has a row for each architecture: family,
    series, gmacs, ap_mean, ap_low, ap_high. `curves` has several rows for each law, by rising gmacs: family, series, gmacs,
    ap_law, low, high. Ends of a missing interval are nan.
    """
    require(points, "family", "series", "gmacs", "ap_mean", "ap_low", "ap_high", source="scaling.family_points")
    require(curves, "family", "series", "gmacs", "ap_law", "low", "high", source="scaling.law_curves")
    narrow = width <= NARROW
    figure, (axes,) = new_figure(width, (0.95 if narrow else 0.52) * width)
    title_axis(axes, x="GMACs per image (log scale)", y="AP")
    axes.set_xscale("log")
    for _, curve in curves.groupby("family", sort=False):
        colour = series_colour(int(curve["series"].iloc[0]))
        if curve["low"].notna().any():
            axes.fill_between(
                curve["gmacs"], curve["low"], curve["high"], color=colour, alpha=0.15, linewidth=0, zorder=1
            )
        highest = float(points.loc[points["family"] == curve["family"].iloc[0], "gmacs"].max())
        within, beyond = curve[curve["gmacs"] <= highest], curve[curve["gmacs"] >= highest]
        if curve["low"].isna().all():  # no seed noise is known: a guide to the eye
            axes.plot(within["gmacs"], within["ap_law"], color=colour, linewidth=1.0, linestyle=":", zorder=2)
            continue
        axes.plot(within["gmacs"], within["ap_law"], color=colour, linewidth=1.4, zorder=2)
        axes.plot(beyond["gmacs"], beyond["ap_law"], color=colour, linewidth=1.4, linestyle=(0, (4, 3)), zorder=2)
    for family, group in points.groupby("family", sort=False):
        series = int(group["series"].iloc[0])
        for row in records(group):
            if not math.isnan(float(row["ap_low"])):
                axes.vlines(
                    row["gmacs"], row["ap_low"], row["ap_high"], color=series_colour(series), alpha=0.6, zorder=3
                )
        colour, hollow = series_colour(series), group["ap_low"].isna()
        axes.scatter(group["gmacs"], group["ap_mean"], s=44, marker=series_marker(series),
                     facecolor=[PAPER if single else colour for single in hollow],
                     edgecolor=[colour if single else PAPER for single in hollow],
                     linewidths=[1.6 if single else 0.8 for single in hollow], zorder=4, label=str(family))  # fmt: skip
    low = float(points["gmacs"].min())
    predicted = curves.loc[curves["low"].notna(), "gmacs"]
    high = max(float(points["gmacs"].max()), float(predicted.max()) if len(predicted) else 0.0)
    axes.set_xlim(low / 1.1, high * 1.1)
    axes.xaxis.set_major_locator(FixedLocator(log_ticks(low / 1.1, high * 1.1)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    if points["family"].nunique() > 1:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2 if narrow else 5, frameon=False,
                      fontsize=8, labelcolor=INK)  # fmt: skip
    return figure


def draw_scaling(table: pd.DataFrame, width: float = WIDE) -> Figure:
    """Draw scaling_figure from one table, such as the page's CSV: architectures have ap_mean, laws have ap_law.

    Both have family, series and gmacs. Laws have low and high, architectures ap_low and ap_high.
    """
    return scaling_figure(table[table["ap_mean"].notna()], table[table["ap_law"].notna()].sort_values("gmacs"), width)
