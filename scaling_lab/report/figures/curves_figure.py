"""The figure of learning curves: loss and AP by epoch, unsmoothed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from scaling_lab.report.figures import labels
from scaling_lab.report.figures.style import INK, MUTED, NARROW, WIDE, new_figure, series_colour, title_axis
from scaling_lab.report.tables import require
from scaling_lab.report.ticks import log_ticks


def curves_figure(epochs: pd.DataFrame, width: float = WIDE) -> Figure:
    """Draw loss by epoch, and AP beside it if a trial has more than one value; one line for each trial.

    The table has a row for each trial and epoch: trial, epoch, loss, ap (nan if not evaluated), label, series.
    """
    require(epochs, "trial", "epoch", "label", "series", source="sections.curves_table")
    narrow = width <= NARROW
    values = {"loss": "training loss (log scale)"} | ({"ap": "AP"} if has_curve(epochs, "ap") else {})
    count = len(values)
    height = (0.66 * count if narrow else 0.40) * width
    figure, panels = new_figure(width, height, *((1, count) if narrow else (count, 1)))
    for axes, (value, name) in zip(panels, values.items(), strict=True):
        title_axis(axes, x="epoch", y=name)
        for trial in _trials_with(epochs, value):
            _draw_curve(axes, trial, value)
        _set_epochs(axes)
    _set_loss(panels[0])
    if count == 2 and panels[1].get_ylim()[1] < 1.0:
        panels[1].set_ylim(-0.1, 1.0)
    _label_line_ends(panels[-1], epochs, value, size=7.5 if narrow else 8.0)
    return figure


def has_curve(epochs: pd.DataFrame, value: str) -> bool:
    """Return whether a trial has the value in more than one epoch."""
    return value in epochs and int(epochs.groupby("trial")[value].count().max()) > 1


def _set_loss(axes: Axes) -> None:
    """Give the loss a log axis with plain numbers, which keeps its last epochs legible."""
    low, high = axes.get_ylim()
    if not axes.lines:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no loss was recorded", transform=axes.transAxes, ha="center", color=MUTED)
    elif low > 0.0:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(FixedLocator(log_ticks(low, high)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def _set_epochs(axes: Axes) -> None:
    """Put ticks at whole epochs, even if there is only one."""
    low, high = axes.get_xlim()
    middle = 0.5 * (low + high)
    axes.set_xlim(min(low, middle - 0.6), max(high, middle + 0.6))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def _trials_with(epochs: pd.DataFrame, value: str) -> Iterator[pd.DataFrame]:
    """Yield each trial's epochs with a finite value, grey trials first so that they are drawn below."""
    if value not in epochs:
        return
    for _, trial in epochs.sort_values(["series", "trial", "epoch"], kind="stable").groupby("trial", sort=False):
        present = trial[np.isfinite(pd.to_numeric(trial[value]).to_numpy(dtype=float))]
        if len(present):
            yield present


def _draw_curve(axes: Axes, trial: pd.DataFrame, value: str) -> None:
    series = int(trial["series"].iloc[0])
    marked = len(trial) == 1 or (value == "ap" and len(trial) <= 12)
    axes.plot(
        trial["epoch"].tolist(), trial[value].astype(float).tolist(), color=series_colour(series),
        linewidth=1.4 if series >= 0 else 0.8, alpha=0.9 if series >= 0 else 0.6,
        marker="o" if marked else None, markersize=3.5, markeredgewidth=0,
    )  # fmt: skip


def _label_line_ends(axes: Axes, epochs: pd.DataFrame, value: str, *, size: float) -> None:
    """Write each architecture's name at the right, near the end of its lines, without overlap."""
    last = [trial.iloc[-1] for trial in _trials_with(epochs[epochs["series"] >= 0], value)]
    if not last:
        return
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    ends = pd.DataFrame(last).groupby("label").agg({"epoch": "max", "series": "first", value: "mean"})
    to_axes = axes.transData + axes.transAxes.inverted()
    wanted = [float(to_axes.transform((1.0, end))[1]) for end in ends[value]]
    gap = 1.25 * size / (axes.get_window_extent().height * 72.0 / figure.dpi)
    heights = labels.spread(wanted, gap, 0.0, 1.0)
    for (label, end), height in zip(ends.iterrows(), heights, strict=True):
        line = {"arrowstyle": "-", "color": series_colour(int(end["series"])), "linewidth": 0.8}
        axes.annotate(
            labels.wrap(str(label), 24), xy=(end["epoch"], end[value]), xytext=(1.03, height),
            textcoords=axes.transAxes, va="center", fontsize=size, color=INK, annotation_clip=False,
            arrowprops={**line, "shrinkA": 1, "shrinkB": 3, "relpos": (0.0, 0.5)},
        )  # fmt: skip
