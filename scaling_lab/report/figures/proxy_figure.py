"""The figure of AP of the full protocol against AP of a proxy, with a mark for each architecture."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scaling_lab.report.figures import labels
from scaling_lab.report.figures.cost_figures import MANY_POINTS, MOST_LABELS, value_limits
from scaling_lab.report.figures.style import (
    GRID,
    INK,
    NARROW,
    PAPER,
    WIDE,
    new_figure,
    series_colour,
    series_marker,
    title_axis,
)
from scaling_lab.report.tables import records

NAMES = {"proxy": "AP of the proxy", "full": "AP of the full protocol"}
MOST_BARS = 200  # architectures: intervals of more would be a grey cloud
CROWDED_LABELS = {True: 1, False: 3}  # labels for each protocol's best if crowded, by whether the figure is narrow


def proxy_figure(pairs: pd.DataFrame, width: float = WIDE) -> Figure:
    """Draw pairs (see pairing.Pairs): a mark for each architecture at its two means, with its intervals.

    A hollow mark has one seed under one of the protocols. More than MOST_BARS architectures are drawn without either.
    """
    narrow = width <= NARROW
    figure, (axes,) = new_figure(width, 0.95 * width if narrow else 0.56 * width)
    title_axis(axes, x=NAMES["proxy"], y=NAMES["full"])
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_xlim(*_limits(pairs, "proxy"))
    axes.set_ylim(*_limits(pairs, "full"))
    axes.xaxis.set_major_locator(MaxNLocator(5 if narrow else 8, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    if len(pairs) <= MOST_BARS:
        _draw_intervals(axes, pairs)
    for _, group in pairs.groupby("series", sort=True):
        _draw_marks(axes, group, many=len(pairs) > MANY_POINTS, cloud=len(pairs) > MOST_BARS)
    _label(axes, pairs, narrow=narrow)
    return figure


def _limits(pairs: pd.DataFrame, which: str) -> tuple[float, float]:
    names = {f"{which}_ap_mean": "ap", f"{which}_ap_low": "ap_low", f"{which}_ap_high": "ap_high"}
    return value_limits(pairs[list(names)].rename(columns=names))


def _draw_intervals(axes: Axes, pairs: pd.DataFrame) -> None:
    across, up = pairs.dropna(subset="proxy_ap_low"), pairs.dropna(subset="full_ap_low")
    colours = {id(rows): [series_colour(int(series)) for series in rows["series"]] for rows in (across, up)}
    style: dict[str, Any] = {"linewidth": 1.2, "alpha": 0.55, "zorder": 3}
    axes.hlines(
        across["full_ap_mean"], across["proxy_ap_low"], across["proxy_ap_high"], colors=colours[id(across)], **style
    )
    axes.vlines(up["proxy_ap_mean"], up["full_ap_low"], up["full_ap_high"], colors=colours[id(up)], **style)


def _draw_marks(axes: Axes, group: pd.DataFrame, *, many: bool, cloud: bool) -> None:
    series = int(group["series"].iloc[0])
    colour = series_colour(series)
    single = group[["proxy_n", "full_n"]].min(axis=1) == 1
    for rows, hollow in ((group[single], True), (group[~single], False)):
        face, edge, line = (PAPER, colour, 1.4) if hollow else (colour, PAPER, 0.8)
        look: dict[str, Any] = {
            "facecolor": face,
            "edgecolor": edge,
            "linewidths": line,
            "s": 52 if series >= 0 else 22,
        }
        if cloud and series < 0:
            look = {"color": colour, "linewidths": 0, "s": 9, "alpha": 0.5}
        axes.scatter(
            rows["proxy_ap_mean"], rows["full_ap_mean"], marker=series_marker(series), zorder=5 if series >= 0 else 4,
            rasterized=many, **look,
        )  # fmt: skip


def _label(axes: Axes, pairs: pd.DataFrame, *, narrow: bool) -> None:
    """Label each architecture; if there are too many, only the best of each protocol."""
    named = pairs.sort_values(["full_ap_mean", "label"], ascending=[False, True])
    if len(named) > MOST_LABELS:
        best = named.nlargest(CROWDED_LABELS[narrow], "proxy_ap_mean").index
        named = named.loc[list(dict.fromkeys([*named.index[: CROWDED_LABELS[narrow]], *best]))]
    obstacles: list[labels.Box] = []
    for row in records(pairs.nlargest(MOST_BARS, "full_ap_mean")):
        x, y = float(row["proxy_ap_mean"]), float(row["full_ap_mean"])
        obstacles.append((x, y, x, y))
        obstacles += [(low, y, high, y) for low, high in [_bar(row, "proxy", axes.get_xlim())] if low < high]
        obstacles += [(x, low, x, high) for low, high in [_bar(row, "full", axes.get_ylim())] if low < high]
    anchors = [(float(row["proxy_ap_mean"]), float(row["full_ap_mean"])) for row in records(named)]
    labels.annotate(axes, anchors, [labels.wrap(str(label)) for label in named["label"]], obstacles=obstacles,
                    size=7.5 if narrow else 8.5,
                    colour=INK)  # fmt: skip


def _bar(row: dict[str, Any], which: str, limits: tuple[float, float]) -> tuple[float, float]:
    """Return the ends of an interval clipped to the axis; both nan without an interval."""
    low, high = float(row[f"{which}_ap_low"]), float(row[f"{which}_ap_high"])
    return (low, high) if math.isnan(low) else (max(low, limits[0]), min(high, limits[1]))
