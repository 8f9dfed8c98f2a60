"""What is kept of a set's annotations, whatever their format: images with the boxes to train on. It reads no file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# How far a box may reach out of its image, in pixels: files round, and some count from 0 where others count from 1.
MOST_OUTSIDE = 1.0

Record = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One image: `boxes` (N, 4) are x0, y0, x1, y1 in its pixels, `labels` (N,) class indices; crowds are left out."""

    image_id: int
    file_name: str
    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Annotations:
    """A split's annotations, in COCO's form as `ground_truth` and as `entries` to train on.

    `degenerate` counts the boxes without area inside their image: they are not trained on. `outside` has a line for each
    box, crowds too, that reaches out of its image by more than MOST_OUTSIDE.
    """

    ground_truth: dict[str, list[Record]]
    entries: list[Entry]
    degenerate: int
    outside: list[str]


def annotated(ground_truth: dict[str, list[Record]], name: Callable[[int], str]) -> Annotations:
    """Number the classes and look at the boxes; `name` says in a message which annotation stands at a place."""
    images = {image["id"]: image for image in ground_truth["images"]}
    index = {category["id"]: number for number, category in enumerate(ground_truth["categories"])}
    rows: dict[int, list[tuple[float, ...]]] = {image_id: [] for image_id in images}
    outside = []
    for place, annotation in enumerate(ground_truth["annotations"]):
        image = images[annotation["image_id"]]
        if _is_outside(annotation["bbox"], image):
            x, y, width, height = annotation["bbox"]
            box = f"reaches from ({x:g}, {y:g}) to ({x + width:g}, {y + height:g})"
            outside.append(f"{name(place)} {box}, outside its image of {image['width']} x {image['height']} pixels")
        if not annotation["iscrowd"]:
            rows[annotation["image_id"]].append((*annotation["bbox"], index[annotation["category_id"]]))
    entries = [_entry(image, rows[image["id"]]) for image in ground_truth["images"]]
    kept = sum(len(entry.labels) for entry in entries)
    return Annotations(ground_truth, entries, sum(map(len, rows.values())) - kept, outside)


def _is_outside(bbox: list[float], image: Record) -> bool:
    x, y, width, height = bbox
    return bool(max(-x, -y, x + width - image["width"], y + height - image["height"]) > MOST_OUTSIDE)


def _entry(image: Record, rows: list[tuple[float, ...]]) -> Entry:
    values = np.array(rows, dtype=np.float32).reshape(-1, 5)
    corners = np.concatenate([values[:, :2], values[:, :2] + values[:, 2:4]], axis=1)
    width, height = image["width"], image["height"]
    boxes = np.clip(corners, 0, np.array([width, height, width, height], dtype=np.float32))
    has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    labels = values[has_area, 4].astype(np.int64)
    return Entry(image["id"], image["file_name"], (height, width), boxes[has_area], labels)
