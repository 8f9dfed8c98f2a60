"""The figure of learning curves: loss and AP by epoch. It smooths nothing and leaves nothing out."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scaling_lab.report import labels
from scaling_lab.report.style import INK, MUTED, NARROW, WIDE, new_figure, series_colour, title_axis


def curves_figure(epochs: pd.DataFrame, width: float = WIDE) -> Figure:
    """Draw loss and AP by epoch, a line for each trial. The table has a row for each trial and epoch: label, series."""
    narrow = width <= NARROW
    figure, panels = new_figure(width, 1.35 * width if narrow else 0.40 * width, *((1, 2) if narrow else (2, 1)))
    for axes, value, name in zip(panels, ("loss", "ap"), ("training loss", "AP"), strict=True):
        title_axis(axes, x="epoch", y=name)
        for trial in _trials_with(epochs, value):
            _draw_curve(axes, trial, value, alone=len(trial) == 1)
        _set_epochs(axes)
        if value == "ap" and axes.get_ylim()[1] < 1.0:
            axes.set_ylim(-0.1, 1.0)
        if not axes.lines:
            axes.set_yticks([])
            axes.text(0.5, 0.5, f"no {name} was recorded", transform=axes.transAxes, ha="center", color=MUTED)
    if panels[1].lines:
        _label_line_ends(panels[1], epochs, size=7.5 if narrow else 8.0)
    return figure


def _set_epochs(axes: Axes) -> None:
    """Let the horizontal axis have whole epochs, also where there is but one."""
    low, high = axes.get_xlim()
    middle = 0.5 * (low + high)
    axes.set_xlim(min(low, middle - 0.6), max(high, middle + 0.6))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def _trials_with(epochs: pd.DataFrame, value: str) -> Iterator[pd.DataFrame]:
    """Give each trial's epochs that have the value, the grey ones first so that they lie below."""
    if value not in epochs:
        return
    for _, trial in epochs.sort_values(["series", "trial", "epoch"], kind="stable").groupby("trial", sort=False):
        present = trial[pd.to_numeric(trial[value]).notna()]
        if len(present):
            yield present


def _draw_curve(axes: Axes, trial: pd.DataFrame, value: str, *, alone: bool) -> None:
    series = int(trial["series"].iloc[0])
    marked = alone or (value == "ap" and len(trial) <= 12)
    axes.plot(
        trial["epoch"].tolist(), trial[value].astype(float).tolist(), color=series_colour(series),
        linewidth=1.4 if series >= 0 else 0.8, alpha=0.9 if series >= 0 else 0.6,
        marker="o" if marked else None, markersize=3.5, markeredgewidth=0,
    )  # fmt: skip


def _label_line_ends(axes: Axes, epochs: pd.DataFrame, *, size: float) -> None:
    """Write each architecture's name at the right, at the height where its trials end, moved apart."""
    ends: dict[str, tuple[float, int]] = {}
    for label, group in epochs[(epochs["series"] >= 0) & epochs["ap"].notna()].groupby("label"):
        last = group.sort_values("epoch").groupby("trial")["ap"].last()
        ends[str(label)] = (float(last.mean()), int(group["series"].iloc[0]))
    if not ends:
        return
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    low, high = axes.get_ylim()
    gap = 1.25 * size / (axes.get_window_extent().height * 72.0 / figure.dpi) * (high - low)
    heights = labels.spread([end for end, _ in ends.values()], gap, low, high)
    last_epoch = float(epochs["epoch"].max())
    for (label, (end, series)), height in zip(ends.items(), heights, strict=True):
        line = {"arrowstyle": "-", "color": series_colour(series), "linewidth": 0.8, "shrinkA": 1, "shrinkB": 3}
        axes.annotate(
            labels.wrap(label, 24), xy=(last_epoch, end), xytext=(1.03, height), textcoords=axes.get_yaxis_transform(),
            va="center", fontsize=size, color=INK, arrowprops={**line, "relpos": (0.0, 0.5)}, annotation_clip=False,
        )  # fmt: skip
