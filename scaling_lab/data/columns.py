"""A split's objects as columns, and its images with their boxes, made from the columns when they are asked for.

Shapes: N objects, M of them to train on, I images. COCO's 860,000 objects take 65 MB, as dicts 800.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np


@dataclass(frozen=True)
class Entry:
    """One image: `boxes` (N, 4) are x0, y0, x1, y1 in its pixels, `labels` (N,) class indices; crowds are left out.

    `image_id` counts from 1; `file_id` is the id in the file.
    """

    image_id: int
    file_id: int
    file_name: str
    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Images:
    """The images of a split: names, (height, width) as (I, 2) and ids in the file, which may be of any length."""

    names: tuple[str, ...]
    sizes: np.ndarray
    ids: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.names)

    @classmethod
    def of(cls, records: Sequence[Mapping[str, Any]]) -> Images:
        """Return the images of COCO's dicts."""
        sizes = np.array([(each["height"], each["width"]) for each in records], dtype=np.int32).reshape(-1, 2)
        return cls(tuple(each["file_name"] for each in records), sizes, tuple(each["id"] for each in records))

    def taken(self, places: Sequence[int]) -> Images:
        """Return the images at these indices."""
        names, ids = tuple(self.names[place] for place in places), tuple(self.ids[place] for place in places)
        return Images(names, self.sizes[np.asarray(places, dtype=np.int64)], ids)


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of a split: indices of image and class (N,), box (N, 4) as x, y, width, height, area (N,), crowd (N,)."""

    image: np.ndarray
    label: np.ndarray
    bbox: np.ndarray
    area: np.ndarray
    crowd: np.ndarray

    def __len__(self) -> int:
        """Return the number of objects, crowds included."""
        return len(self.image)

    def taken(self, where: np.ndarray) -> Objects:
        """Return the objects at these indices, or where a mask is true."""
        return Objects(self.image[where], self.label[where], self.bbox[where], self.area[where], self.crowd[where])

    def outside(self, images: Images) -> np.ndarray:
        """Return by how many pixels each box exceeds its image, at most 0 if it does not, (N,)."""
        ends = self.bbox[:, :2] + self.bbox[:, 2:] - images.sizes[self.image][:, ::-1]
        return np.asarray(np.maximum(-self.bbox[:, :2], ends).max(axis=1, initial=-np.inf))


class Entries(Sequence[Entry]):
    """The images with the boxes to train on: cut to the image, without crowds and boxes that have no area there."""

    def __init__(self, images: Images, objects: Objects) -> None:
        self._images = images
        trained = objects.taken(~objects.crowd)
        values = trained.bbox.astype(np.float32)
        corners = np.concatenate([values[:, :2], values[:, :2] + values[:, 2:]], axis=1)
        sides = images.sizes[trained.image][:, ::-1].astype(np.float32)
        boxes = np.clip(corners, 0, np.concatenate([sides, sides], axis=1))
        has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        order = np.flatnonzero(has_area)
        order = order[np.argsort(trained.image[order], kind="stable")]
        self.boxes, self.labels = boxes[order], trained.label[order].astype(np.int64)
        self._starts = np.searchsorted(trained.image[order], np.arange(len(images) + 1))
        self.degenerate = len(trained) - len(order)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._images)

    @overload
    def __getitem__(self, index: int) -> Entry: ...

    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...

    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        """Return an image, or a list of them."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[operator.index(index)]
        height, width = self._images.sizes[place].tolist()
        own = slice(self._starts[place], self._starts[place + 1])
        names = place + 1, self._images.ids[place], self._images.names[place]
        return Entry(*names, (height, width), self.boxes[own], self.labels[own])

    @property
    def counts(self) -> np.ndarray:
        """The number of boxes of each image (I,)."""
        return np.diff(self._starts)

    @property
    def sizes(self) -> np.ndarray:
        """The (height, width) of each box's image (M, 2)."""
        return np.repeat(self._images.sizes, self.counts, axis=0)
