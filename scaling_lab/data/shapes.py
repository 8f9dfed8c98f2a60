"""Shapes, the data set that is made on the fly: its settings and ground truth. It draws no pixel and imports no torch.

Made so that classes can only be told by combining scales: that of every object is the colour of the scene's light, far from
the small ones, and a detail, on large ones a fine texture in the middle. `scenes` says how, `rendering` draws it. On plain
shapes a detector without any feature network beats BiFPN in short training, which would teach the opposite of the truth.
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
from scaling_lab.data.scenes import NATIVE_SIZE, Scene

# Raise it with every change after which the same settings give other images: trials before and after do not compare.
VERSION = 3


@dataclass(frozen=True, kw_only=True)
class Shapes(Fields):
    """`train_images` and `val_images` scenes of two disjoint streams of random numbers, which `seed` chooses."""

    kind: ClassVar[str] = "shapes"
    # Mirroring either way keeps every class: rows stay rows, and the light its colour.
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
        """Counted from 1, as in COCO: an off-by-one somewhere shows here and not only on real data."""
        return tuple(range(1, len(scenes.CLASS_NAMES) + 1))

    @property
    def file_category_ids(self) -> tuple[int, ...]:
        """The same: there is no file."""
        return self.category_ids

    def to_dict(self) -> dict[str, Any]:
        """Give the plain values from which `source_from_dict` makes it again."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    def digest(self) -> str:
        """Identify the images that these settings give, across versions of the generator."""
        return hashlib.sha256(json.dumps({**self.to_dict(), "version": VERSION}, sort_keys=True).encode()).hexdigest()

    def describe(self) -> str:
        """Say in one line what it is."""
        return f"Shapes: {self.train_images} training and {self.val_images} held-out images made with seed {self.seed}"

    def length(self, split: str) -> int:
        """Count the images of a split."""
        return {"train": self.train_images, "val": self.val_images}[split]

    def check_images(self, *splits: str) -> None:
        """Nothing can be missing: every image is made when it is asked for."""

    def remarks(self) -> list[str]:
        """Nothing is unusual about them."""
        return []

    def split_name(self, split: str) -> str:
        """Name a split."""
        return split

    def file_image_id(self, split: str, image_id: int) -> int:
        """Give an image's id, which is our own number: there is no file."""
        return image_id

    def scene(self, split: str, index: int) -> Scene:
        """Give the scene of one image; it does not depend on how many there are."""
        return scenes.scene(self.seed, split, index)

    def ground_truth(self, split: str) -> dict[str, Any]:
        """Write the objects in COCO's format, in pixels of an image of NATIVE_SIZE; image ids count from 1."""
        return _ground_truth(self, split)

    def samples(self, count: int) -> list[tuple[int, np.ndarray]]:
        """Draw the first `count` held-out images at NATIVE_SIZE, as (image id, RGB uint8 of height, width, 3)."""
        from scaling_lab.data.rendering import render

        indices = range(min(count, self.val_images))
        images = render([self.scene("val", index) for index in indices], NATIVE_SIZE)
        return [(index + 1, images[index].permute(1, 2, 0).numpy()) for index in indices]


def boxes(scene: Scene) -> np.ndarray:
    """The boxes (N, 4) of a scene as x0, y0, x1, y1 in pixels of an image of NATIVE_SIZE."""
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
