"""The figure of rank correlation with final AP by epoch, a function of a table and a width in inches."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scaling_lab.report.figures.style import INK, NARROW, PAPER, SERIES, WIDE, new_figure, title_axis


def rungs_figure(rungs: pd.DataFrame, width: float = WIDE) -> Figure:
    """Draw tau against epoch (columns epoch, tau, tau_low, tau_high, is_rung) with its band; rungs are squares."""
    narrow = width <= NARROW
    figure, (axes,) = new_figure(width, (0.75 if narrow else 0.38) * width)
    title_axis(axes, x="epoch", y="tau-b with final AP")
    shown = rungs.dropna(subset="tau")
    colour = SERIES[0]
    banded = shown.dropna(subset="tau_low")
    axes.fill_between(banded["epoch"], banded["tau_low"], banded["tau_high"], color=colour, alpha=0.16, linewidth=0)
    axes.vlines(
        banded["epoch"], banded["tau_low"], banded["tau_high"], color=colour, linewidth=1.5, alpha=0.7, zorder=3
    )
    axes.plot(shown["epoch"], shown["tau"], color=colour, linewidth=1.4, zorder=3)
    for is_rung, rows in shown.groupby("is_rung"):
        axes.scatter(rows["epoch"], rows["tau"], s=52 if is_rung else 30, marker="s" if is_rung else "o", color=colour,
                     edgecolor=PAPER, linewidths=0.8, zorder=4)  # fmt: skip
    axes.axhline(0.0, color=INK, linewidth=0.8, alpha=0.6, zorder=1)
    lowest = float(pd.concat([banded["tau_low"], shown["tau"]]).min()) if len(shown) else 0.0
    axes.set_ylim(min(0.0, lowest) - 0.03, 1.03)
    first, last = float(rungs["epoch"].min()), float(rungs["epoch"].max())
    pad = max(0.5, 0.04 * (last - first))
    axes.set_xlim(first - pad, last + pad)
    axes.xaxis.set_major_locator(MaxNLocator(6 if narrow else 10, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    return figure
