"""Writes a small data set in COCO's layout to disk, as real JPEG files. It is no test: tests read what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scaling_lab import Coco
from scaling_lab.data.rendering import render
from scaling_lab.data.scenes import NATIVE_SIZE, scene
from scaling_lab.data.shapes import boxes

# Not contiguous, and not in order, as in files that people have.
CATEGORIES = [{"id": 44, "name": "disc"}, {"id": 3, "name": "small"}, {"id": 7, "name": "square"}]


def write_coco(folder: Path, train: int = 24, val: int = 12, seed: int = 0) -> Coco:
    """Write both splits under `folder`. No image is square; image 1 shows no object, 2 has a crowd, 3 is grey."""
    for split, count in (("train", train), ("val", val)):
        (folder / f"{split}2017").mkdir(parents=True)
        content: dict[str, Any] = {"images": [], "annotations": [], "categories": CATEGORIES}
        for index in range(count):
            _write_image(folder / f"{split}2017", content, seed, split, index)
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))
    return Coco(folder=str(folder))


def _write_image(folder: Path, content: dict[str, Any], seed: int, split: str, index: int) -> None:
    chance = np.random.default_rng((seed, index))
    side, spare = int(chance.integers(110, 170)), int(chance.integers(10, 60))
    width, height = (side + spare, side) if index % 2 else (side, side + spare)
    left, top = (int(chance.integers(0, limit - side + 1)) for limit in (width, height))
    pixels = np.full((height, width, 3), 120, dtype=np.uint8)
    image_id, name = 1000 + 7 * index, f"{index:012d}.jpg"
    if index != 1:
        drawn = scene(seed, split, index)
        pixels[top : top + side, left : left + side] = render([drawn], side)[0].permute(1, 2, 0).numpy()
        corner = np.array([left, top] * 2)
        for box, label in zip(boxes(drawn) * (side / NATIVE_SIZE) + corner, drawn.labels, strict=True):
            category = 3 if label < 4 else 7 if label < 6 else 44
            content["annotations"].append(
                _annotation(len(content["annotations"]), image_id, category, box, crowd=False)
            )
    if index == 2:
        crowd = np.array([2.0, 2.0, 60.0, 40.0])
        content["annotations"].append(_annotation(len(content["annotations"]), image_id, 7, crowd, crowd=True))
    image = Image.fromarray(pixels)
    (image.convert("L") if index == 3 else image).save(folder / name, quality=92)
    content["images"].append({"id": image_id, "file_name": name, "width": width, "height": height})


def _annotation(number: int, image_id: int, category: int, box: np.ndarray, *, crowd: bool) -> dict[str, Any]:
    x0, y0, x1, y1 = (round(float(value), 2) for value in box)
    bbox = [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)]
    # Ids count from 0, as in files that people have: evaluators take 0 for "no match".
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category,
        "bbox": bbox,
        "area": bbox[2] * bbox[3],
        "iscrowd": int(crowd),
    }
