"""Draws boxes with class names and scores over an image, for `scaling-lab predict`."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

from scaling_lab.report.figures.detections_figure import labelled
from scaling_lab.report.figures.drawn_boxes import Box
from scaling_lab.report.figures.style import SERIES_DARK

# Fractions of the image's longer side, and the least height of labels in pixels.
LABEL_HEIGHT, LEAST_HEIGHT, LINE_WIDTH = 0.026, 14.0, 1 / 320
_INK = "#10151d"


def draw_boxes(image: Image.Image, boxes: Sequence[Box]) -> Image.Image:
    """Return a copy of the image with its boxes, and the labels drawn above all boxes."""
    drawn = image.convert("RGB")
    pen = ImageDraw.Draw(drawn)
    height = max(LEAST_HEIGHT, LABEL_HEIGHT * max(image.size))
    font = ImageFont.truetype(findfont("DejaVu Sans"), 0.82 * height)
    line = max(2, round(LINE_WIDTH * max(image.size)))
    placed = labelled(boxes, image.size, height)
    for box in reversed(placed):  # the best last, on top
        x0, y0, x1, y1 = _corners(box.bbox)
        pen.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=_INK, width=line + 2)  # visible on any background
        pen.rectangle((x0, y0, x1, y1), outline=_colour(box), width=line)
    for box in placed:
        if box.label is not None:
            x, y = box.label.bbox[:2]
            pen.rectangle(_corners(box.label.bbox), fill=_colour(box))
            pen.text((x + 0.12 * height, y + 0.77 * height), box.label.text, fill=_INK, font=font, anchor="ls")
    return drawn


def _colour(box: Box) -> str:
    return SERIES_DARK[box.series % len(SERIES_DARK)]


def _corners(bbox: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Return the first and last pixel of a box, both drawn."""
    x, y, width, height = bbox
    return x, y, max(x, x + width - 1), max(y, y + height - 1)
