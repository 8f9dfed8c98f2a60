"""Detections drawn on held-out images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.patches import Rectangle
from PIL import Image

from scaling_lab.report.figures import labels
from scaling_lab.report.figures.drawn_boxes import Box, Label
from scaling_lab.report.figures.style import INK, NARROW, SERIES_DARK, WIDE, new_figure

if TYPE_CHECKING:
    pass

LABEL_HEIGHT = 0.058  # share of a picture's longer side
MOST_COVERED = 0.4  # share of a label that may cover a box before the label is shortened
TRUTH = "Ground truth"


def boxes_of(rows: pd.DataFrame, scale: float = 1.0) -> list[Box]:
    """Return the boxes of a panel's rows, in pixels of the scaled picture."""
    boxes = []
    for row in rows.to_dict("records"):
        bbox = (row["x"] * scale, row["y"] * scale, row["width"] * scale, row["height"] * scale)
        score = None if pd.isna(row["score"]) else float(row["score"])
        boxes.append(Box(bbox=bbox, name=str(row["class"]), series=int(row["series"]), score=score))
    return boxes


def labelled(
    boxes: Sequence[Box], size: tuple[int, int], height: float | None = None, *, objects: Sequence[Box] = ()
) -> tuple[Box, ...]:
    """Return the boxes with labels that do not overlap, placed by falling score.

    A label is only the score if its words would cover much of other objects, and is omitted without room. `height` is in
    pixels of the picture, by default from LABEL_HEIGHT. `objects` are further boxes that a label must not hide, such as the
    ground truth that a detector missed.
    """
    height = LABEL_HEIGHT * max(size) if height is None else height
    placed: dict[int, Label] = {}
    for index in sorted(range(len(boxes)), key=lambda index: -(boxes[index].score or 0.0)):
        label = _label(boxes[index], [*boxes, *objects], list(placed.values()), size, height)
        if label is not None:
            placed[index] = label
    return tuple(dataclasses.replace(box, label=placed.get(index)) for index, box in enumerate(boxes))


def _label(
    box: Box, boxes: Sequence[Box], taken: Sequence[Label], size: tuple[int, int], height: float
) -> Label | None:
    """Return the label with its words, or the score alone if the words cover too much."""
    best: tuple[float, Label] | None = None
    for text in [box.text] if box.score is None else [box.text, f"{box.score:.2f}"]:
        found = _place(box, text, boxes, taken, size, height)
        if found is not None and (best is None or found[0] < best[0]):
            best = found
        if best is not None and best[0] < MOST_COVERED:
            break
    return best[1] if best else None


def _place(
    box: Box, text: str, boxes: Sequence[Box], taken: Sequence[Label], size: tuple[int, int], height: float
) -> tuple[float, Label] | None:
    """Return the place beside or in a box that is free of labels and hides the least of other boxes."""
    width = labels.text_size(text, 0.82 * height)[0] + 0.24 * height
    best: tuple[float, Label] | None = None
    for left, top in _places(box, width, height, size):
        place = (left, top, left + width, top + height)
        if any(labels.overlap(place, _corners(label.bbox)) > 0.0 for label in taken):
            continue
        covered = max(_hidden(place, other.bbox, width * height) for other in boxes)
        if best is None or covered < best[0] - 1e-6:
            best = (covered, Label(text=text, bbox=(left, top, width, height)))
    return best


def _hidden(place: labels.Box, bbox: tuple[float, float, float, float], area: float) -> float:
    """Return the share of a label that covers a box, or of a smaller box that the label covers."""
    return labels.overlap(place, _corners(bbox)) / max(min(area, bbox[2] * bbox[3]), 1e-9)


def _places(box: Box, width: float, height: float, size: tuple[int, int]) -> list[tuple[float, float]]:
    """Return possible places of a label (left, top), the best first: above, below, beside, inside a box."""
    x, y, box_width, box_height = box.bbox
    right, bottom = x + box_width, y + box_height
    lefts = [min(max(0.0, left), size[0] - width) for left in (x, right - width)]
    places = [(left, top) for top in (y - height, bottom) for left in lefts]
    places += [(left, top) for top in (y, bottom - height) for left in (right, x - width)]
    places += [(left, top) for top in (y, bottom - height) for left in lefts]
    return [(a, b) for a, b in places if 0.0 <= a <= size[0] - width and 0.0 <= b <= size[1] - height]


def _corners(bbox: tuple[float, float, float, float]) -> labels.Box:
    return bbox[0], bbox[1], bbox[0] + bbox[2], bbox[1] + bbox[3]


def detections_figure(boxes: pd.DataFrame, width: float = WIDE, *, folder: Path, panels: list[str]) -> MatplotlibFigure:
    """Draw a grid of pictures, images in rows and panels in columns, from the table of boxes_table."""
    paths = list(dict.fromkeys(boxes["path"])) if len(boxes) else []
    images = {path: Image.open(folder / path).convert("RGB") for path in paths}
    width = width if width <= NARROW else max(width, 1.35 * len(panels))
    side = width / len(panels)
    heights = [side * image.height / image.width for image in images.values()] or [side]
    figure, axes = new_figure(width, sum(heights) + 0.35, len(panels), max(1, len(paths)))
    for index, one in enumerate(axes):
        one.set_axis_off()
        row, column = divmod(index, len(panels))
        if row == 0:
            one.set_title(panels[column], fontsize=7, color=INK, wrap=True)
        if row < len(paths):
            one.imshow(images[paths[row]], interpolation="nearest")
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for index, one in enumerate(axes[: len(paths) * len(panels)]):
        row, column = divmod(index, len(panels))
        here = boxes[(boxes["path"] == paths[row]) & (boxes["panel"] == panels[column])]
        truth = boxes[(boxes["path"] == paths[row]) & (boxes["panel"] == TRUTH)]
        _draw_boxes(one, labelled(boxes_of(here), images[paths[row]].size, objects=boxes_of(truth)))
    return figure


def _draw_boxes(axes: Axes, boxes: Sequence[Box]) -> None:
    """Draw boxes with their labels on top; the axes have their final size."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    low, high = axes.get_xlim()
    points = axes.get_window_extent().width * 72.0 / figure.dpi / (high - low)  # for one pixel of the picture
    for box in boxes:
        x, y, width, height = box.bbox
        colour = SERIES_DARK[box.series % len(SERIES_DARK)]
        axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=1.0, zorder=2))
    for box in boxes:
        if box.label is None:
            continue
        x, y, width, height = box.label.bbox
        colour = SERIES_DARK[box.series % len(SERIES_DARK)]
        axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, linewidth=0, zorder=3))
        axes.text(
            x + 0.12 * height, y + 0.77 * height, box.label.text, fontsize=0.82 * height * points, color="#10151d",
            va="baseline", ha="left", zorder=4,
        )  # fmt: skip
