"""Tells what four numbers of a box are where they are clearly not x, y, width and height in pixels. It reads no file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# A box is far outside where it reaches out by more than this share of its image's side.
FAR = 0.05
# So many boxes must be far outside as they stand, and so many must fit as read otherwise.
MANY_OUTSIDE, NEARLY_ALL = 0.1, 0.98
# A fraction of a side is at most 1; tools round. Images of fewer pixels a side hold objects of one pixel.
FRACTION, LEAST_SIDE = 1.01, 8

# Corners (N, 4) as x0, y0, x1, y1, as another reading of the four numbers gives them.
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


# The first that fits is named.
READINGS: tuple[tuple[str, Reading], ...] = (
    ("corners, x0, y0, x1, y1", _corners),
    ("centre, width and height", _centres),
    ("y, x, height, width (or width and height of the images are swapped)", _swapped),
)


def likely_reading(boxes_N4: np.ndarray, sides_N2: np.ndarray) -> str:
    """Say what the boxes look like, with the counts that show it; nothing where they fit as x, y, width, height.

    `sides_N2` are width and height of each box's image.
    """
    if not len(boxes_N4):
        return ""
    if boxes_N4.max() <= FRACTION and boxes_N4.min() >= 1 - FRACTION and sides_N2.min() > LEAST_SIDE:
        most = f"no number of the {len(boxes_N4)} boxes is above {boxes_N4.max():g}"
        return f"the boxes look like fractions of the image: {most}; allowed are pixels"
    outside = ~_fits(_plain(boxes_N4), sides_N2, FAR)
    if outside.mean() < MANY_OUTSIDE:
        return ""
    for words, reading in READINGS:
        if _fits(reading(boxes_N4), sides_N2, 0.0).mean() >= NEARLY_ALL:
            counts = f"{outside.sum()} of {len(boxes_N4)} boxes reach far out of their images as x, y, width, height"
            return f"the boxes look like {words}: {counts}, and fit so; allowed is x, y, width, height"
    return ""


def _fits(corners_N4: np.ndarray, sides_N2: np.ndarray, share: float) -> np.ndarray:
    """Tell which boxes (N,) lie inside their images, by a pixel or a share of the side, and have no negative size."""
    reach_N2 = np.maximum(1.0, share * sides_N2)
    inside = (corners_N4[:, :2] >= -reach_N2) & (corners_N4[:, 2:] <= sides_N2 + reach_N2)
    return np.asarray((inside & (corners_N4[:, 2:] >= corners_N4[:, :2])).all(axis=1))
