"""The figures of a population: distributions of AP, and the importance of choices."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from scaling_lab.report.figures import labels
from scaling_lab.report.figures.style import GRID, INK, NARROW, SERIES, WIDE, new_figure, series_colour, title_axis
from scaling_lab.report.tables import records, require

LINES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))  # lines never differ in colour only


def distribution_figure(edf: pd.DataFrame, width: float = WIDE) -> Figure:
    """Draw each group's cumulative distribution of AP as steps.

    The table has a row for each architecture, by rising ap in its group: group, series, ap, share (the fraction of its
    group with at most this AP).
    """
    require(edf, "group", "series", "ap", "share", source="distributions.distributions(…).edf")
    narrow = width <= NARROW
    figure, (axes,) = new_figure(width, (0.85 if narrow else 0.45) * width)
    title_axis(axes, x="AP", y="architectures with at most this AP, %")
    low, high = float(edf["ap"].min()), float(edf["ap"].max())
    pad = max(0.04 * (high - low), 0.2)
    for group, rows in edf.groupby("group", sort=False):
        series = int(rows["series"].iloc[0])
        xs = np.concatenate([[low - pad], rows["ap"].to_numpy(dtype=float), [high + pad]])
        ys = 100 * np.concatenate([[0.0], rows["share"].to_numpy(dtype=float), [1.0]])
        label = f"{labels.wrap(str(group), 24)} ({len(rows)})"
        style = LINES[series // 2 % len(LINES)]
        axes.step(xs, ys, where="post", color=series_colour(series), linewidth=1.6, linestyle=style, label=label)
    axes.set_xlim(low - pad, high + pad)
    axes.set_ylim(-2.0, 102.0)
    axes.xaxis.set_major_locator(MaxNLocator(5 if narrow else 8))
    figure.legend(loc="outside upper left", ncols=2 if narrow else 4, frameon=False, fontsize=8, labelcolor=INK)
    return figure


def importance_figure(table: pd.DataFrame, width: float = WIDE) -> Figure:
    """Draw each choice's share of the variance of AP, before and after removing cost, with intervals and chance levels.

    Columns: choice, share, low, high, rest, rest_low, rest_high, chance, rest_chance.
    """
    narrow = width <= NARROW
    figure, (axes,) = new_figure(width, 1.1 + (0.5 if narrow else 0.42) * len(table))
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_xlabel("share of the variance, %")
    rows = records(table.iloc[::-1])
    bars = (
        ("share", "low", "high", "chance", "of AP", 0.19),
        ("rest", "rest_low", "rest_high", "rest_chance", "cost removed", -0.19),
    )
    for (share, low, high, chance, name, above), colour in zip(bars, (SERIES[0], SERIES[4]), strict=True):
        places = [place + above for place in range(len(rows))]
        axes.barh(
            places, [100 * max(0.0, row[share]) for row in rows], height=0.34, color=colour, label=name, linewidth=0
        )
        for place, row in zip(places, rows, strict=True):
            ends = [100 * min(1.0, max(0.0, row[end])) for end in (low, high)]
            axes.hlines(place, *ends, color=INK, linewidth=1.2, alpha=0.75, zorder=3)
        line = 100 * float(table[chance].iloc[0])
        if not np.isnan(line):
            axes.axvline(line, color=colour, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
    axes.set_xlim(left=0.0)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_yticks(
        range(len(rows)), [labels.wrap(str(row["choice"]), 20 if narrow else 40) for row in rows], color=INK
    )
    axes.xaxis.set_major_locator(MaxNLocator(4 if narrow else 8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=8, handlelength=1.0, handleheight=1.0,
                  labelcolor=INK)  # fmt: skip
    return figure
