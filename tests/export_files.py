"""Writes tiny data sets as other tools export them: pictures of one or two boxes. It is no test: tests read what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 96, 64
# x, y, width, height in pixels, of the classes red and green.
BOXES = ((4, 10, 24, 32), (50, 8, 32, 16))
NAMES = ("red", "green")


def write_picture(path: Path, seed: int) -> None:
    """Write a picture of its own for each seed, with a red and a green box."""
    pixels = np.random.default_rng(seed).integers(60, 80, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for (x, y, width, height), colour in zip(BOXES, ((220, 30, 30), (30, 220, 30)), strict=True):
        pixels[y : y + height, x : x + width] = colour
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def coco_content(names: list[str], start: int = 1) -> dict[str, Any]:
    """Give the content of a JSON file in COCO's format for pictures of these names."""
    images = [
        {"id": start + place, "file_name": name, "width": WIDTH, "height": HEIGHT} for place, name in enumerate(names)
    ]
    annotations = [
        {"id": 2 * place + number, "image_id": start + place, "category_id": number, "bbox": list(box), "iscrowd": 0}
        for place in range(len(names))
        for number, box in enumerate(BOXES, 1)
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_export(file: Path, images: Path, count: int = 4, seed: int = 0, prefix: str = "", **changes: Any) -> None:
    """Write one JSON file and its images; `prefix` stands before the names in the file, `changes` replace its parts."""
    names = [f"im{seed + place:03d}.png" for place in range(count)]
    for place, name in enumerate(names):
        write_picture(images / name, seed + place)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**coco_content([prefix + name for name in names]), **changes}))


def yolo_lines() -> str:
    """Give the lines of a label file: both boxes as centre and size in fractions."""
    rows = [
        (number, (x + width / 2) / WIDTH, (y + height / 2) / HEIGHT, width / WIDTH, height / HEIGHT)
        for number, (x, y, width, height) in enumerate(BOXES)
    ]
    return "".join(f"{' '.join(f'{value:.8g}' for value in row)}\n" for row in rows)


def write_yolo(images: Path, labels: Path, count: int = 4, seed: int = 0) -> list[Path]:
    """Write pictures and a label file for each; give the pictures."""
    labels.mkdir(parents=True, exist_ok=True)
    paths = [images / f"im{seed + place:03d}.png" for place in range(count)]
    for place, path in enumerate(paths):
        write_picture(path, seed + place)
        (labels / f"{path.stem}.txt").write_text(yolo_lines())
    return paths
