"""Shapes, the data set generated on the fly: its settings and ground truth.

Classes can be recognised only by combining scales: the colour of the scene's light, far from the small objects, and a
detail, a fine texture on large ones. `scenes` defines it, `rendering` renders it. On plain shapes, a detector without a
feature network beats BiFPN in short training runs, which is misleading.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from scaling_lab.checks import Fields, check_whole
from scaling_lab.data import scenes
from scaling_lab.data.entries import Annotations, annotated
from scaling_lab.data.scenes import NATIVE_SIZE, Scene

# Raised whenever the same settings give other images, so that trials before and after are not compared.
VERSION = 3


@dataclass(frozen=True, kw_only=True)
class Shapes(Fields):
    """`train_images` and `val_images` scenes from two disjoint random streams of `seed`."""

    kind: ClassVar[str] = "shapes"
    # Mirroring on either axis keeps every class: rows stay rows, and the light keeps its colour.
    mirrors: ClassVar[str] = "xy"

    train_images: int = 4096
    val_images: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("train_images", 1), ("val_images", 1), ("seed", 0)):
            check_whole(f"Shapes: {name}", getattr(self, name), least=least)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The four classes of small objects, then the four of large ones."""
        return scenes.CLASS_NAMES

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The category ids, from 1 as in COCO, so that off-by-one errors show here too."""
        return tuple(range(1, len(scenes.CLASS_NAMES) + 1))

    @property
    def file_category_ids(self) -> tuple[int, ...]:
        """The same as `category_ids`, since there is no file."""
        return self.category_ids

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, which `source_from_dict` reads."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    def digest(self) -> str:
        """Return a hash of the settings and the generator's version."""
        return hashlib.sha256(json.dumps({**self.to_dict(), "version": VERSION}, sort_keys=True).encode()).hexdigest()

    def describe(self) -> str:
        """Describe the data set in one line."""
        return f"Shapes: {self.train_images} training and {self.val_images} held-out images, seed {self.seed}"

    def length(self, split: str) -> int:
        """Return the number of images of a split."""
        return {"train": self.train_images, "val": self.val_images}[split]

    def check_images(self, *splits: str) -> None:
        """Do nothing, since images are generated."""

    def remarks(self) -> list[str]:
        """Return no remarks."""
        return []

    def split_name(self, split: str) -> str:
        """Return a split's name."""
        return split

    def file_image_id(self, split: str, image_id: int) -> int:
        """Return the image id itself, since there is no file."""
        return image_id

    def scene(self, split: str, index: int) -> Scene:
        """Return the scene of one image, independent of the number of images."""
        return scenes.scene(self.seed, split, index)

    def ground_truth(self, split: str) -> dict[str, Any]:
        """Return the objects in COCO's format, in pixels of an image of NATIVE_SIZE; image ids count from 1."""
        return _ground_truth(self, split)

    def annotations(self, split: str) -> Annotations:
        """Return the same objects as columns."""
        return _annotations(self, split)

    def samples(self, count: int) -> list[tuple[int, np.ndarray]]:
        """Return the first `count` held-out images at NATIVE_SIZE, as (image id, RGB uint8 of height, width, 3)."""
        from scaling_lab.data.rendering import render

        indices = range(min(count, self.val_images))
        images = render([self.scene("val", index) for index in indices], NATIVE_SIZE)
        return [(index + 1, images[index].permute(1, 2, 0).numpy()) for index in indices]


def boxes(scene: Scene) -> np.ndarray:
    """Return the boxes (N, 4) of a scene as x0, y0, x1, y1 in pixels of an image of NATIVE_SIZE."""
    return np.array([thing.box for thing in scene.things], dtype=np.float32) * np.float32(NATIVE_SIZE / scenes.GRID)


@lru_cache(maxsize=4)
def _ground_truth(source: Shapes, split: str) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(source.length(split)):
        scene = source.scene(split, index)
        name = f"{split}-{index:06d}.png"
        images.append({"id": index + 1, "width": NATIVE_SIZE, "height": NATIVE_SIZE, "file_name": name})
        for (x0, y0, x1, y1), label in zip(boxes(scene).tolist(), scene.labels, strict=True):
            annotation = {"image_id": index + 1, "category_id": source.category_ids[label], "iscrowd": 0}
            box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
            annotations.append({"id": len(annotations) + 1, **annotation, **box})
    categories = [{"id": id_, "name": name} for id_, name in zip(source.category_ids, source.class_names, strict=True)]
    return {"images": images, "annotations": annotations, "categories": categories}


@lru_cache(maxsize=4)
def _annotations(source: Shapes, split: str) -> Annotations:
    return annotated(_ground_truth(source, split), str)
