"""A data set's annotations in a common form: images with the boxes to train on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling_lab.data.box_readings import likely_reading

# Pixels by which a box may exceed its image, for rounding and for counting from 0 or 1.
MOST_OUTSIDE = 1.0

Record = dict[str, Any]


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


@dataclass(frozen=True)
class Annotations:
    """A split's annotations, in COCO's form as `ground_truth` and as `entries` to train on.

    Images, categories and annotations of `ground_truth` are numbered from 1 in order, since ids in files may exceed
    floats and evaluators. `image_ids` and `category_ids` are the ids in the file, in the same order.

    `degenerate` counts boxes without area inside their image, which are not trained on. `outside` has a line for each
    box, crowds included, that exceeds its image by more than MOST_OUTSIDE. `misread` describes boxes that are clearly not
    x, y, width and height in pixels, else it is empty. `remarks` list accepted irregularities. `placeholders` are file ids
    of categories without objects here that look like placeholders, such as Roboflow's.
    """

    ground_truth: dict[str, list[Record]]
    entries: list[Entry]
    image_ids: tuple[int, ...]
    category_ids: tuple[int, ...]
    degenerate: int
    outside: list[str]
    misread: str = ""
    remarks: tuple[str, ...] = ()
    placeholders: frozenset[int] = frozenset()

    def without_categories(self, ids: frozenset[int]) -> Annotations:
        """Return the annotations without these categories, which have no objects, renumbered."""
        categories = self.ground_truth["categories"]
        kept = [number for number, id_ in enumerate(self.category_ids, 1) if id_ not in ids]
        if len(kept) == len(categories):
            return self
        numbers = {old: new for new, old in enumerate(kept, 1)}
        labels = np.zeros(len(categories), dtype=np.int64)
        labels[np.array(kept) - 1] = np.arange(len(kept))
        names = [
            f"{categories[number - 1]['name']!r}" for number in range(1, len(categories) + 1) if number not in numbers
        ]
        return dataclasses.replace(
            self,
            ground_truth={
                **self.ground_truth,
                "annotations": [
                    {**each, "category_id": numbers[each["category_id"]]} for each in self.ground_truth["annotations"]
                ],
                "categories": [{**categories[old - 1], "id": new} for old, new in numbers.items()],
            },
            entries=[dataclasses.replace(entry, labels=labels[entry.labels]) for entry in self.entries],
            category_ids=tuple(id_ for id_ in self.category_ids if id_ not in ids),
            remarks=(
                *self.remarks,
                f"class {', '.join(names)} is left out: it is the supercategory of the others and has no objects",
            ),
        )

    def part(self, places: Sequence[int]) -> Annotations:
        """Return the annotations of the images at these indices, renumbered."""
        kept = {self.entries[place].image_id: number for number, place in enumerate(places, 1)}
        truth = self.ground_truth
        images = [{**truth["images"][place], "id": number} for number, place in enumerate(places, 1)]
        inside = [each for each in truth["annotations"] if each["image_id"] in kept]
        annotations = [
            {**each, "id": number, "image_id": kept[each["image_id"]]} for number, each in enumerate(inside, 1)
        ]
        entries = [dataclasses.replace(self.entries[place], image_id=number) for number, place in enumerate(places, 1)]
        trained = sum(not each["iscrowd"] for each in inside)
        return dataclasses.replace(
            self,
            ground_truth={**truth, "images": images, "annotations": annotations},
            entries=entries,
            image_ids=tuple(self.image_ids[place] for place in places),
            degenerate=trained - sum(len(entry.labels) for entry in entries),
        )


def annotated(
    records: dict[str, list[Record]],
    name: Callable[[int], str],
    remarks: Sequence[str] = (),
    placeholders: frozenset[int] = frozenset(),
) -> Annotations:
    """Number images, categories and annotations from 1, and check the boxes.

    `records` are COCO's, with ids as in the file and categories in the order of the classes. `name` gives an annotation's
    name in messages, by its index.
    """
    image_ids, category_ids = (tuple(record["id"] for record in records[part]) for part in ("images", "categories"))
    images, categories = (_numbered(records[part]) for part in ("images", "categories"))
    image_numbers, category_numbers = (
        {id_: number for number, id_ in enumerate(ids, 1)} for ids in (image_ids, category_ids)
    )
    annotations: list[Record] = []
    rows: list[list[tuple[float, ...]]] = [[] for _ in images]
    outside = []
    for place, record in enumerate(records["annotations"]):
        number, category = image_numbers[record["image_id"]], category_numbers[record["category_id"]]
        annotation = {**record, "id": place + 1, "image_id": number, "category_id": category}
        annotations.append(annotation)
        image = images[number - 1]
        if _is_outside(annotation["bbox"], image):
            x, y, width, height = annotation["bbox"]
            box = f"spans ({x:g}, {y:g}) to ({x + width:g}, {y + height:g})"
            outside.append(f"{name(place)} {box}, outside its image of {image['width']} x {image['height']} pixels")
        if not annotation["iscrowd"]:
            rows[number - 1].append((*annotation["bbox"], category - 1))
    entries = [_entry(image, id_, row) for image, id_, row in zip(images, image_ids, rows, strict=True)]
    degenerate = sum(map(len, rows)) - sum(len(entry.labels) for entry in entries)
    truth = {"images": images, "annotations": annotations, "categories": categories}
    misread = _misread(annotations, images)
    return Annotations(
        truth, entries, image_ids, category_ids, degenerate, outside, misread, tuple(remarks), placeholders
    )


def _numbered(records: list[Record]) -> list[Record]:
    return [{**record, "id": number} for number, record in enumerate(records, 1)]


def _misread(annotations: list[Record], images: list[Record]) -> str:
    boxes_N4 = np.array([annotation["bbox"] for annotation in annotations], dtype=np.float64).reshape(-1, 4)
    sides = np.array([(image["width"], image["height"]) for image in images], dtype=np.float64)
    places = np.array([annotation["image_id"] for annotation in annotations], dtype=np.int64) - 1
    return likely_reading(boxes_N4, sides[places])


def _is_outside(bbox: list[float], image: Record) -> bool:
    x, y, width, height = bbox
    return bool(max(-x, -y, x + width - image["width"], y + height - image["height"]) > MOST_OUTSIDE)


def _entry(image: Record, file_id: int, rows: list[tuple[float, ...]]) -> Entry:
    values = np.array(rows, dtype=np.float32).reshape(-1, 5)
    corners = np.concatenate([values[:, :2], values[:, :2] + values[:, 2:4]], axis=1)
    width, height = image["width"], image["height"]
    boxes = np.clip(corners, 0, np.array([width, height, width, height], dtype=np.float32))
    has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    labels = values[has_area, 4].astype(np.int64)
    return Entry(image["id"], file_id, image["file_name"], (height, width), boxes[has_area], labels)
