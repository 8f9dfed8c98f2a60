"""The figures of measured latencies, each a function of a table and a width in inches."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from scaling_lab.metrics import COUNTED, METRICS
from scaling_lab.report.figures.style import (
    GRID,
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
from scaling_lab.report.tables import records
from scaling_lab.report.ticks import log_ticks


def correlation_figure(latencies: pd.DataFrame, width: float = WIDE) -> Figure:
    """Draw median_ms against each counted cost on log axes, with a dot for each detector, coloured by `series`.

    The table has a column `<cost>_tau` with the rank correlation of each cost, the same in every row.
    """
    narrow = width <= NARROW
    figure, panels = new_figure(width, (2.9 if narrow else 0.82) * width, *((1, 4) if narrow else (2, 2)))
    for axes, cost in zip(panels, COUNTED, strict=True):
        title_axis(axes, x=f"{METRICS[cost].axis} (log scale)", y="latency, ms (log scale)")
        _log_axis(axes, "x", latencies[cost])
        _log_axis(axes, "y", latencies["median_ms"])
        _scatter(axes, latencies, cost, "median_ms")
        axes.text(0.03, 0.95, _tau_words(float(latencies[f"{cost}_tau"].iloc[0])), transform=axes.transAxes, va="top",
                  color=INK, fontsize=9)  # fmt: skip
    _legend(figure, panels[0], latencies, columns=2 if narrow else 4)
    return figure


def residual_figure(latencies: pd.DataFrame, width: float = WIDE) -> Figure:
    """Draw `slower`, latency over the log-log fit on GMACs, against GMACs, with a line at 1."""
    narrow = width <= NARROW
    figure, (axes,) = new_figure(width, (0.95 if narrow else 0.48) * width)
    title_axis(axes, x="GMACs per image (log scale)", y="latency / log-log fit on GMACs")
    _log_axis(axes, "x", latencies["gmacs"])
    axes.axhline(1.0, color=INK, linewidth=1.0, zorder=1)
    _scatter(axes, latencies, "gmacs", "slower")
    axes.set_ylim(0.0, 1.08 * max(float(latencies["slower"].max()), 1.5))
    _legend(figure, axes, latencies, columns=2 if narrow else 4)
    return figure


def rank_figure(correlations: pd.DataFrame, width: float = WIDE) -> Figure:
    """Draw tau-b with its interval for each cost (`cost`, `name`, `tau`, `low`, `high`), over all detectors and by group."""
    narrow = width <= NARROW
    groups = list(dict.fromkeys(correlations["among"]))
    names = [METRICS[cost].axis for cost in COUNTED]
    figure, (axes,) = new_figure(width, 0.9 + (0.26 if narrow else 0.16) * len(groups) * len(names))
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_xlabel("Kendall's tau-b with the measured latency")
    ticks: list[tuple[float, str]] = []
    named: set[str] = set()
    for row in records(correlations):
        group, place = groups.index(str(row["among"])), names.index(str(row["name"]))
        y = -(place * (len(groups) + 0.8) + group)
        series = int(row["series"])
        colour = INK if group == 0 else series_colour(series)
        axes.hlines(y, float(row["low"]), float(row["high"]), color=colour, linewidth=1.8, zorder=2)
        marker = "o" if group == 0 else series_marker(series)
        axes.scatter([float(row["tau"])], [y], s=34, marker=marker, color=colour, edgecolor=PAPER, linewidths=0.8, zorder=3,
                     label=None if row["among"] in named else str(row["among"]))  # fmt: skip
        named.add(str(row["among"]))
        if group == 0:
            ticks.append((y - (len(groups) - 1) / 2, names[place]))
    axes.set_xlim(min(0.0, float(correlations["low"].min()) - 0.03), 1.02)
    axes.set_yticks([y for y, _ in ticks], [name for _, name in ticks], color=INK)
    figure.legend(loc="outside upper left", ncols=2 if narrow else 5, frameon=False, fontsize=8, labelcolor=INK)
    return figure


def _tau_words(tau: float) -> str:
    return "all alike" if math.isnan(tau) else f"tau-b {tau:.2f}"


def _scatter(axes: Axes, latencies: pd.DataFrame, x: str, y: str) -> None:
    for _, rows in latencies.groupby("series", sort=True):
        series = int(rows["series"].iloc[0])
        axes.scatter(rows[x], rows[y], s=26, marker=series_marker(series), color=series_colour(series), edgecolor=PAPER,
                     linewidths=0.6, zorder=3, label=str(rows["detector"].iloc[0]) if series >= 0 else "others")  # fmt: skip


def _log_axis(axes: Axes, name: str, values: pd.Series[float]) -> None:
    low, high = float(values.min()), float(values.max())
    pad = (high / low) ** 0.08 if high > 1.001 * low else 1.2
    axis = axes.xaxis if name == "x" else axes.yaxis
    (axes.set_xscale if name == "x" else axes.set_yscale)("log")
    (axes.set_xlim if name == "x" else axes.set_ylim)(low / pad, high * pad)
    axis.set_major_locator(FixedLocator(log_ticks(low / pad, high * pad)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    axes.grid(axis="x" if name == "x" else "y", color=GRID, linewidth=0.8)
    axes.tick_params(colors=MUTED)
    axes.spines["bottom"].set_color(REST)


def _legend(figure: Figure, axes: Axes, latencies: pd.DataFrame, *, columns: int) -> None:
    if latencies["detector"].nunique() > 1:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=columns, frameon=False, fontsize=8,
                      labelcolor=INK, handletextpad=0.2)  # fmt: skip
