"""A data set's annotations in a common form: as columns, as images to train on, and as COCO's dicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from scaling_lab.data.box_readings import likely_reading
from scaling_lab.data.columns import Entries, Entry, Images, Objects

__all__ = ["MOST_OUTSIDE", "Annotations", "Entries", "Entry", "Record", "annotated", "checked"]

# Pixels by which a box may exceed its image, for rounding and for counting from 0 or 1.
MOST_OUTSIDE = 1.0

Record = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Annotations:
    """A split's annotations: `images` and `objects` as columns, `entries` to train on, `ground_truth` in COCO's form.

    Images, categories and annotations of `ground_truth` are numbered from 1 in order, since ids in files may exceed
    floats and evaluators. `image_ids` and `category_ids` are the ids in the file, in the same order.

    `outside` has a line for each box, crowds included, that exceeds its image by more than MOST_OUTSIDE. `misread` describes
    boxes that are clearly not x, y, width and height in pixels, else it is empty. `remarks` list accepted irregularities.
    `placeholders` are file ids of categories without objects here that look like placeholders, such as Roboflow's.
    """

    images: Images
    objects: Objects
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    outside: list[str]
    misread: str = ""
    remarks: tuple[str, ...] = ()
    placeholders: frozenset[int] = frozenset()

    @property
    def image_ids(self) -> tuple[int, ...]:
        """The images' ids in the file."""
        return self.images.ids

    @cached_property
    def entries(self) -> Entries:
        """The images with the boxes to train on."""
        return Entries(self.images, self.objects)

    @property
    def degenerate(self) -> int:
        """The number of boxes without area inside their image, which are not trained on."""
        return self.entries.degenerate

    @cached_property
    def ground_truth(self) -> dict[str, list[Record]]:
        """Images, annotations and categories as COCO's dicts, 900 bytes for each object."""
        names, objects = self.images.names, self.objects
        columns = (
            column.tolist() for column in (objects.image, objects.label, objects.bbox, objects.area, objects.crowd)
        )
        return {
            "images": [
                {"id": number, "file_name": name, "width": width, "height": height}
                for number, (name, (height, width)) in enumerate(zip(names, self.images.sizes.tolist(), strict=True), 1)
            ],
            "annotations": [
                {
                    "id": number,
                    "image_id": image + 1,
                    "category_id": label + 1,
                    "bbox": bbox,
                    "area": area,
                    "iscrowd": +crowd,
                }
                for number, (image, label, bbox, area, crowd) in enumerate(zip(*columns, strict=True), 1)
            ],
            "categories": [{"id": number, "name": name} for number, name in enumerate(self.class_names, 1)],
        }

    def without_categories(self, ids: frozenset[int]) -> Annotations:
        """Return the annotations without these categories, which have no objects, renumbered."""
        kept = [place for place, id_ in enumerate(self.category_ids) if id_ not in ids]
        if len(kept) == len(self.category_ids):
            return self
        labels = np.zeros(len(self.category_ids), dtype=self.objects.label.dtype)
        labels[kept] = np.arange(len(kept))
        names = [f"{name!r}" for name, id_ in zip(self.class_names, self.category_ids, strict=True) if id_ in ids]
        return dataclasses.replace(
            self,
            objects=dataclasses.replace(self.objects, label=labels[self.objects.label]),
            class_names=tuple(self.class_names[place] for place in kept),
            category_ids=tuple(self.category_ids[place] for place in kept),
            remarks=(
                *self.remarks,
                f"class {', '.join(names)} is left out: it is the supercategory of the others and has no objects",
            ),
        )

    def part(self, places: Sequence[int]) -> Annotations:
        """Return the annotations of the images at these indices, renumbered."""
        numbers = np.full(len(self.images), -1, dtype=self.objects.image.dtype)
        numbers[np.asarray(places, dtype=np.int64)] = np.arange(len(places))
        inside = self.objects.taken(numbers[self.objects.image] >= 0)
        objects = dataclasses.replace(inside, image=numbers[inside.image])
        return dataclasses.replace(self, images=self.images.taken(places), objects=objects)


def annotated(
    records: dict[str, list[Record]],
    name: Callable[[int], str],
    remarks: Sequence[str] = (),
    placeholders: frozenset[int] = frozenset(),
) -> Annotations:
    """Make columns of COCO's dicts, and check the boxes.

    `records` have ids as in the file, and categories in the order of the classes. `name` gives an annotation's name in
    messages, by its index.
    """
    image_places, category_places = (
        {record["id"]: place for place, record in enumerate(records[part])} for part in ("images", "categories")
    )
    each = records["annotations"]
    objects = Objects(
        image=np.array([image_places[record["image_id"]] for record in each], dtype=np.int32),
        label=np.array([category_places[record["category_id"]] for record in each], dtype=np.int32),
        bbox=np.array([record["bbox"] for record in each], dtype=np.float64).reshape(-1, 4),
        area=np.array([record["area"] for record in each], dtype=np.float64),
        crowd=np.array([bool(record["iscrowd"]) for record in each], dtype=bool),
    )
    images = Images.of(records["images"])
    classes = tuple(category["name"] for category in records["categories"])
    return checked(images, objects, classes, tuple(category_places), name, remarks, placeholders)


def checked(
    images: Images,
    objects: Objects,
    class_names: tuple[str, ...],
    category_ids: tuple[int, ...],
    name: Callable[[int], str],
    remarks: Sequence[str],
    placeholders: frozenset[int],
) -> Annotations:
    """Return annotations of these columns, with what is wrong with their boxes; arguments as in `annotated`."""
    places = np.flatnonzero(objects.outside(images) > MOST_OUTSIDE).tolist()
    outside = [_outside(images, objects, place, name) for place in places]
    misread = likely_reading(objects.bbox, images.sizes[objects.image][:, ::-1].astype(np.float64))
    return Annotations(
        images, objects, class_names, category_ids, outside, misread, tuple(remarks), placeholders
    )  # fmt: skip


def _outside(images: Images, objects: Objects, place: int, name: Callable[[int], str]) -> str:
    x, y, width, height = objects.bbox[place].tolist()
    image_height, image_width = images.sizes[objects.image[place]]
    box = f"spans ({x:g}, {y:g}) to ({x + width:g}, {y + height:g})"
    return f"{name(place)} {box}, outside its image of {image_width} x {image_height} pixels"
