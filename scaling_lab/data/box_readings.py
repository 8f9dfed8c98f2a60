"""Recognises boxes that are clearly not x, y, width and height in pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# A box is far outside if it exceeds its image by more than this fraction of the side.
FAR = 0.05
# Fraction of boxes that must be far outside as given, and fraction that must fit in another reading.
MANY_OUTSIDE, NEARLY_ALL = 0.1, 0.98
# Fractions of a side are at most 1, plus rounding. Smaller images may hold objects of one pixel.
FRACTION, LEAST_SIDE = 1.01, 8

# A reading maps the four numbers to corners (N, 4): x0, y0, x1, y1.
Reading = Callable[[np.ndarray], np.ndarray]


def _corners(boxes_N4: np.ndarray) -> np.ndarray:
    return boxes_N4


def _centres(boxes_N4: np.ndarray) -> np.ndarray:
    half_N2 = boxes_N4[:, 2:] / 2
    return np.concatenate([boxes_N4[:, :2] - half_N2, boxes_N4[:, :2] + half_N2], axis=1)


def _plain(boxes_N4: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes_N4[:, :2], boxes_N4[:, :2] + boxes_N4[:, 2:]], axis=1)


def _swapped(boxes_N4: np.ndarray) -> np.ndarray:
    return _plain(boxes_N4[:, [1, 0, 3, 2]])


# The first reading that fits is named.
READINGS: tuple[tuple[str, Reading], ...] = (
    ("corners, x0, y0, x1, y1", _corners),
    ("centre, width and height", _centres),
    ("y, x, height, width (or width and height of the images are swapped)", _swapped),
)


def likely_reading(boxes_N4: np.ndarray, sides_N2: np.ndarray) -> str:
    """Return what the boxes (N, 4) look like, with counts as evidence; "" where they fit as x, y, width, height.

    `sides_N2` are the width and height of each box's image.
    """
    if not len(boxes_N4):
        return ""
    if boxes_N4.max() <= FRACTION and boxes_N4.min() >= 1 - FRACTION and sides_N2.min() > LEAST_SIDE:
        most = f"no value of the {len(boxes_N4)} boxes exceeds {boxes_N4.max():g}"
        return f"the boxes look like fractions of the image: {most}; allowed are pixels"
    outside = ~_fits(_plain(boxes_N4), sides_N2, FAR)
    if outside.mean() < MANY_OUTSIDE:
        return ""
    for words, reading in READINGS:
        if _fits(reading(boxes_N4), sides_N2, 0.0).mean() >= NEARLY_ALL:
            counts = f"{outside.sum()} of {len(boxes_N4)} boxes lie far outside their images as x, y, width, height"
            return f"the boxes look like {words}: {counts}, but fit this way; allowed is x, y, width, height"
    return ""


def _fits(corners_N4: np.ndarray, sides_N2: np.ndarray, share: float) -> np.ndarray:
    """Return a mask (N,) of boxes of non-negative size inside their images, up to a pixel or a share of the side."""
    reach_N2 = np.maximum(1.0, share * sides_N2)
    inside = (corners_N4[:, :2] >= -reach_N2) & (corners_N4[:, 2:] <= sides_N2 + reach_N2)
    return np.asarray((inside & (corners_N4[:, 2:] >= corners_N4[:, :2])).all(axis=1))
