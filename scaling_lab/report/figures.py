"""The figures of trials, each a function of a table and a width in inches. They compute nothing that a table lacks.

from scaling_lab.report import compute_frontier, figures
figures.cost_figure(compute_frontier(Runs("runs/x")).trials)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from scaling_lab.report import labels
from scaling_lab.report.style import (
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
from scaling_lab.report.tables import records

COST_NAMES = {"gmacs": "GMACs per image", "params_m": "parameters, million", "latency_ms": "latency, ms"}
MOST_LABELS = 14
LEAST_SPAN = 4.0  # AP: an axis never magnifies less than this
MANY_POINTS = 2000  # beyond this a figure's points are one bitmap, or the page would be larger than the run
PART_NAMES = {"backbone": "backbone", "feature_network": "feature network", "heads": "heads"}

Box = tuple[float, float, float, float]


# --- accuracy against cost -------------------------------------------------------------------------------------------


def cost_figure(trials: pd.DataFrame, width: float = WIDE, *, cost: str = "gmacs", name: str | None = None) -> Figure:
    """Draw AP against a cost on a log axis: every trial a dot, each architecture's mean and interval, the front.

    The table has a row for each trial: label, series, ap, ap_mean, ap_low, ap_high, n, on_front and the cost's column.
    """
    narrow = width <= NARROW
    figure, (axes,) = new_figure(width, 0.95 * width if narrow else 0.52 * width)
    title_axis(axes, x=f"{name or COST_NAMES[cost]} (log scale)", y="AP")
    points = trials.drop_duplicates("label")
    _set_limits(axes, trials, cost)
    obstacles = _draw_front(axes, points[points["on_front"]].sort_values(cost), cost)
    for label, group in trials.groupby("label", sort=False):
        obstacles += _draw_architecture(axes, str(label), group, cost, many=len(trials) > MANY_POINTS)
    _label_points(axes, points, cost, obstacles, size=7.5 if narrow else 8.5)
    return figure


def latency_figure(trials: pd.DataFrame, width: float = WIDE, *, name: str = COST_NAMES["latency_ms"]) -> Figure:
    """Draw AP against the median latency, as cost_figure does; the whisker reaches the 90th percentile (p90_ms)."""
    return cost_figure(trials, width, cost="latency_ms", name=name)


def _set_limits(axes: Axes, trials: pd.DataFrame, cost: str) -> None:
    costs = trials[cost].astype(float)
    low, high = float(costs.min()), float(costs.max())
    if "p90_ms" in trials:
        high = max(high, float(trials["p90_ms"].max()))
    pad = (high / low) ** 0.12 if high > 1.001 * low else 1.2
    axes.set_xscale("log")
    axes.set_xlim(low / pad, high * pad)
    axes.xaxis.set_major_locator(FixedLocator(log_ticks(low / pad, high * pad)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    bottom, top = value_limits(trials)
    axes.set_ylim(bottom, top)
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))


def value_limits(trials: pd.DataFrame) -> tuple[float, float]:
    """Give AP limits that show every trial, and intervals as far as they leave the trials legible."""
    low, high = float(trials["ap"].min()), float(trials["ap"].max())
    span = max(high - low, 1.0)
    bottom = np.nanmin([low, max(float(np.nan_to_num(trials["ap_low"].min(), nan=low)), low - 0.6 * span)])
    top = np.nanmax([high, min(float(np.nan_to_num(trials["ap_high"].max(), nan=high)), high + 0.6 * span)])
    pad = max(0.10 * float(top - bottom), 0.5 * (LEAST_SPAN - float(top - bottom)))
    return max(0.0, float(bottom) - pad) if low >= 0 else float(bottom) - pad, float(top) + pad


def log_ticks(low: float, high: float) -> list[float]:
    """Give round numbers in a range for a log axis: 1, 2, 5, … over decades, evenly spaced ones where it is short."""
    if high / low < 3.5:
        even = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        return [float(tick) for tick in even if low <= tick <= high]
    steps = (1, 1.5, 2, 3, 5, 7) if high / low < 10 else (1, 2, 5) if high / low < 200 else (1,)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]


def _draw_front(axes: Axes, front: pd.DataFrame, cost: str) -> list[Box]:
    """Draw the front as steps: at a cost, the best that can be had for it. Give the boxes of the lines."""
    if front.empty:
        return []
    xs = [float(value) for value in front[cost]]
    ys = [float(value) for value in front["ap_mean"]]
    right, bottom = axes.get_xlim()[1], axes.get_ylim()[0]
    axes.step([xs[0], *xs, right], [bottom, *ys, ys[-1]], where="post", color=INK, linewidth=1.1, zorder=2, alpha=0.75)
    corners = [*zip(xs, ys, strict=True), (right, ys[-1])]
    boxes: list[Box] = [(xs[0], bottom, xs[0], ys[0])]
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        boxes += [(x0, y0, x1, y0), (x1, y0, x1, y1)]
    return boxes


def _draw_architecture(axes: Axes, label: str, trials: pd.DataFrame, cost: str, *, many: bool) -> list[Box]:
    """Draw one architecture's seeds, mean and interval; give the boxes that they take."""
    first = trials.iloc[0]
    colour, marker = series_colour(int(first["series"])), series_marker(int(first["series"]))
    x, mean = float(first[cost]), float(first["ap_mean"])
    size = 46 if first["series"] >= 0 else 20
    boxes: list[Box] = [(x, mean, x, mean)]
    if len(trials) > 1:
        values = trials["ap"].astype(float).tolist()
        axes.scatter(
            [x] * len(values), values, s=17, color=colour, edgecolor=PAPER, linewidths=0.6, zorder=4, rasterized=many
        )
        boxes += [(x, value, x, value) for value in values]
    if not math.isnan(float(first["ap_low"])):
        low, high = float(first["ap_low"]), float(first["ap_high"])
        axes.vlines(x, low, high, color=colour, linewidth=1.5, alpha=0.7, zorder=3)
        boxes.append((x, max(low, axes.get_ylim()[0]), x, min(high, axes.get_ylim()[1])))
    if "p90_ms" in trials and not math.isnan(float(first["p90_ms"])):
        axes.hlines(mean, x, float(first["p90_ms"]), color=colour, linewidth=1.2, alpha=0.7, zorder=3)
        axes.plot([float(first["p90_ms"])], [mean], marker="|", color=colour, markersize=6, zorder=3)
        boxes.append((x, mean, float(first["p90_ms"]), mean))
    face, edge, line = (PAPER, colour, 1.6) if len(trials) == 1 else (colour, PAPER, 1.0)
    axes.scatter(
        [x], [mean], s=size, marker=marker, facecolor=face, edgecolor=edge, linewidths=line, zorder=5,
        rasterized=many, label=label,
    )  # fmt: skip
    return boxes


def _label_points(axes: Axes, points: pd.DataFrame, cost: str, obstacles: list[Box], *, size: float) -> None:
    """Write each architecture's name beside its mean, the front's first; where there are too many, only those."""
    ordered = points.sort_values(["on_front", "ap_mean"], ascending=False, kind="stable")
    if len(ordered) > MOST_LABELS:
        ordered = ordered[ordered["on_front"]].head(MOST_LABELS)
    anchors = [(float(row[cost]), float(row["ap_mean"])) for row in records(ordered)]
    texts = [wrap(str(label)) for label in ordered["label"]]
    labels.annotate(axes, anchors, texts, obstacles=obstacles, size=size, colour=INK)


def wrap(text: str, most: int = 44) -> str:
    """Cut a text that is too long for a label."""
    return text if len(text) <= most else text[: most - 1].rstrip(" ,") + "…"


# --- curves ----------------------------------------------------------------------------------------------------------


def curves_figure(epochs: pd.DataFrame, width: float = WIDE) -> Figure:
    """Draw loss and AP by epoch, a line for each trial. The table has a row for each trial and epoch: label, series."""
    narrow = width <= NARROW
    figure, panels = new_figure(width, 1.35 * width if narrow else 0.40 * width, *((1, 2) if narrow else (2, 1)))
    for axes, value, name in zip(panels, ("loss", "ap"), ("training loss", "AP"), strict=True):
        title_axis(axes, x="epoch", y=name)
        for trial in _trials_with(epochs, value):
            _draw_curve(axes, trial, value, alone=len(trial) == 1)
        _set_epochs(axes)
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
            wrap(label, 24), xy=(last_epoch, end), xytext=(1.03, height), textcoords=axes.get_yaxis_transform(),
            va="center", fontsize=size, color=INK, arrowprops={**line, "relpos": (0.0, 0.5)}, annotation_clip=False,
        )  # fmt: skip


# --- cost by part, and differences -----------------------------------------------------------------------------------


def parts_figure(architectures: pd.DataFrame, width: float = WIDE) -> Figure:
    """Draw each architecture's GMACs as a bar of backbone, feature network and heads (columns gmacs_<part>, label)."""
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
    for position, total in zip(positions, left, strict=True):
        axes.annotate(
            f"{total:.3g}", (total, position), (4, 0), textcoords="offset points", va="center", fontsize=8, color=MUTED
        )
    axes.set_yticks(positions, [wrap(str(label), 20 if narrow else 40) for label in table["label"]], color=INK)
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=8, handlelength=1.0, handleheight=1.0,
                  labelcolor=INK)  # fmt: skip
    return figure


def difference_figure(differences: pd.DataFrame, width: float = WIDE, *, baseline: str = "the baseline") -> Figure:
    """Draw each architecture's difference in AP to the baseline with its interval (difference, low, high, label)."""
    narrow = width <= NARROW
    table = differences.iloc[::-1]
    figure, (axes,) = new_figure(width, 0.9 + (0.44 if narrow else 0.32) * len(table))
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_xlabel(f"AP minus that of {wrap(baseline, 26 if narrow else 60)}")
    axes.axvline(0.0, color=INK, linewidth=1.0, zorder=1)
    for position, row in enumerate(records(table)):
        colour = series_colour(int(row["series"]))
        if not math.isnan(float(row["low"])):
            axes.hlines(position, float(row["low"]), float(row["high"]), color=colour, linewidth=2.0, zorder=2)
        hollow = math.isnan(float(row["low"]))
        face, edge = (PAPER, colour) if hollow else (colour, PAPER)
        axes.scatter(
            [float(row["difference"])], [position], s=46, marker=series_marker(int(row["series"])),
            facecolor=face, edgecolor=edge, linewidths=1.6, zorder=3,
        )  # fmt: skip
    axes.set_ylim(-0.6, len(table) - 0.4)
    axes.set_yticks(range(len(table)), [wrap(str(label), 20 if narrow else 40) for label in table["label"]], color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(5 if narrow else 8))
    return figure
