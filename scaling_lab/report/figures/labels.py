"""Places labels so that they cover neither each other nor the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath
from matplotlib.transforms import Affine2D

from scaling_lab.report.figures.style import MUTED

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # x0, y0, x1, y1
Boxes = np.ndarray[Any, np.dtype[np.float64]]  # a row for each box

_DIRECTIONS = tuple((math.cos(angle), math.sin(angle)) for angle in (math.pi * step / 8 for step in range(16)))
_FIRST_DIRECTIONS = (0, 4, 12, 8, 2, 14, 6, 10, 1, 15, 3, 13, 5, 11, 7, 9)  # right, above, below, left, then between
_DISTANCES = (8.0, 14.0, 22.0, 34.0, 48.0, 66.0, 90.0, 120.0)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A label's box, and whether it is far enough from its point to need a line."""

    box: Box
    far: bool


def overlap(first: Box, second: Box) -> float:
    """Return the area of the intersection of two boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(0.0, width) * max(0.0, height)


def place(
    points: Sequence[Point], sizes: Sequence[Point], *, bounds: Box, obstacles: Sequence[Box] = ()
) -> list[Placement]:
    """Place a label of each size (width, height) near its point, in the given order.

    All lengths are in one unit of about 1/70 inch. A label stays within the bounds. It covers an earlier label or an
    obstacle only if no free place is near; then it takes the place that covers least.
    """
    placed: list[Placement] = []
    for point, size in zip(points, sizes, strict=True):
        taken = [*obstacles, *(placement.box for placement in placed)]
        placed.append(_best_place(point, size, bounds, np.array(taken, dtype=float).reshape(-1, 4)))
    return placed


def _best_place(point: Point, size: Point, bounds: Box, taken: Boxes) -> Placement:
    best: tuple[float, Placement] | None = None
    for distance in _DISTANCES:
        for direction in _FIRST_DIRECTIONS:
            box = _box_at(point, size, _DIRECTIONS[direction], distance)
            padded = (box[0] - 1.5, box[1] - 1.0, box[2] + 1.5, box[3] + 1.0)
            outside = size[0] * size[1] - overlap(box, bounds)
            covered = _covered(padded, taken)
            cost = 20.0 * outside + covered
            if cost < 1e-6:
                return Placement(box=box, far=distance > _DISTANCES[1])
            if best is None or cost < best[0]:
                best = (cost, Placement(box=box, far=distance > _DISTANCES[1]))
    assert best is not None
    return best[1]


def _covered(box: Box, taken: Boxes) -> float:
    """Return the area that a box shares with others, a row (x0, y0, x1, y1) each; there may be ten thousand."""
    widths = np.minimum(box[2], taken[:, 2]) - np.maximum(box[0], taken[:, 0])
    heights = np.minimum(box[3], taken[:, 3]) - np.maximum(box[1], taken[:, 1])
    shared = np.maximum(widths, 0.0) * np.maximum(heights, 0.0)
    return float(sum(shared[shared > 0.0].tolist()))


def _box_at(point: Point, size: Point, direction: Point, distance: float) -> Box:
    """Return the box whose nearest edge or corner is `distance` from the point in that direction."""
    x, y = point[0] + direction[0] * distance, point[1] + direction[1] * distance
    left = x - size[0] * (0.5 - 0.5 * _sign(direction[0]))
    bottom = y - size[1] * (0.5 - 0.5 * _sign(direction[1]))
    return left, bottom, left + size[0], bottom + size[1]


def _sign(value: float) -> float:
    return 0.0 if abs(value) < 1e-9 else math.copysign(1.0, value)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return heights moved as little as possible so that neighbours keep `gap` between low and high.

    If they do not all fit, they are evenly spaced.
    """
    if not wanted:
        return []
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    heights = [wanted[index] for index in order]
    for index in range(len(heights)):
        heights[index] = max(heights[index], low if index == 0 else heights[index - 1] + gap)
    for index in reversed(range(len(heights))):
        heights[index] = min(heights[index], high if index == len(heights) - 1 else heights[index + 1] - gap)
    result = [0.0] * len(wanted)
    for place_index, index in enumerate(order):
        result[index] = heights[place_index]
    return result


def annotate(
    axes: Axes,
    points: Sequence[Point],
    texts: Sequence[str],
    *,
    obstacles: Sequence[Box],
    size: float = 8.5,
    colour: str,
    muted_from: int | None = None,
) -> None:
    """Write a text beside each data point of the axes, clear of the obstacles (boxes in data coordinates).

    Texts from index `muted_from` on are grey and in italics, since they are not results. This freezes the figure's layout,
    so draw everything else first.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    to_points = axes.transData + Affine2D().scale(72.0 / figure.dpi)
    window = axes.get_window_extent().transformed(Affine2D().scale(72.0 / figure.dpi))
    right, top = figure.get_figwidth() * 72.0 - 2.0, window.y1 + 4.0
    anchors = [tuple(float(value) for value in to_points.transform(point)) for point in points]
    placements = place(
        [(x, y) for x, y in anchors],
        [text_size(text, size) for text in texts],
        bounds=(window.x0 + 2.0, window.y0 + 2.0, right, top),
        obstacles=[
            _padded(box, 3.5)
            for box in to_points.transform(np.reshape(list(obstacles), (-1, 2))).reshape(-1, 4).tolist()
        ],
    )
    for place_index, (point, anchor, text, placement) in enumerate(
        zip(points, anchors, texts, placements, strict=True)
    ):
        is_muted = muted_from is not None and place_index >= muted_from
        _write(axes, text, point, anchor, placement, size=size, colour=MUTED if is_muted else colour, italic=is_muted)


def _write(
    axes: Axes,
    text: str,
    point: Point,
    anchor: Sequence[float],
    placement: Placement,
    *,
    size: float,
    colour: str,
    italic: bool = False,
) -> None:
    """Write one text at its place, with a line to its point if it is far."""
    style = {
        "textcoords": "offset points",
        "fontsize": size,
        "color": colour,
        "va": "bottom",
        "ha": "left",
        "zorder": 6,
    }
    line = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.55, "shrinkA": 1.0, "shrinkB": 3.0}
    if italic:
        style["fontstyle"] = "italic"
    offset = (placement.box[0] - anchor[0], placement.box[1] - anchor[1])
    arrow = {**line, "relpos": _nearest_corner(anchor, placement.box)} if placement.far else None
    axes.annotate(text, xy=point, xytext=offset, arrowprops=arrow, annotation_clip=False, **style)


def wrap(text: str, most: int = 44) -> str:
    """Shorten a text that is too long for a label."""
    return text if len(text) <= most else text[: most - 1].rstrip(" ,") + "…"


def text_size(text: str, size: float) -> Point:
    """Measure a text in points, in the figures' typeface."""
    width, height, _ = TextToPath().get_text_width_height_descent(text, FontProperties(size=size), False)
    return float(width), float(max(height, 1.1 * size))


def _padded(box: Sequence[float], by: float) -> Box:
    x0, x1 = sorted((float(box[0]), float(box[2])))
    y0, y1 = sorted((float(box[1]), float(box[3])))
    return x0 - by, y0 - by, x1 + by, y1 + by


def _nearest_corner(point: Sequence[float], box: Box) -> Point:
    """Return where a line from the point meets the box, as fractions of its size."""
    x = min(max(point[0], box[0]), box[2])
    y = min(max(point[1], box[1]), box[3])
    return (x - box[0]) / (box[2] - box[0]), (y - box[1]) / (box[3] - box[1])
