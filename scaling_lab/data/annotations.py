"""Reads and checks one annotation file in COCO's format.

A regular file is decoded into columns by `typed_annotations`. Any other is read record by record, and either accepted or
refused with a reason. That takes five times as long, and ten times the memory.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import UNSET

from scaling_lab.checks import is_number, is_whole
from scaling_lab.data.columns import Images, Objects
from scaling_lab.data.entries import Annotations, Record, checked
from scaling_lab.data.segmentations import box_of_segmentation
from scaling_lab.data.typed_annotations import Decoded, decode
from scaling_lab.errors import UserError, first_line
from scaling_lab.files import read_bytes

# A check returns the value to keep, and what is allowed if the value is wrong, else "".
Check = Callable[[Any], tuple[Any, str]]
Checks = Mapping[str, Check]

# Larger than any image, and within float32's exact integers.
MOST_PIXELS, MOST_COORDINATE = 10**6, 10**7
_LONGEST_VALUE = 80


def read_annotations(path: Path) -> Annotations:
    """Read and check a file.

    Accepted and counted: 1.0 for a whole number, null for iscrowd and area, a segmentation without a box. Raises UserError
    for invalid JSON, a missing key, a wrong value, or an unknown id.
    """
    return _read_typed(path) or read_carefully(path)


def _read_typed(path: Path) -> Annotations | None:
    """Read a regular file; None for any other."""
    try:
        columns = decode(path, most_pixels=MOST_PIXELS, most_coordinate=MOST_COORDINATE)
    except OSError:  # the other reader says why
        return None
    if columns is None:
        return None
    accepted: Counter[str] = Counter()
    categories = _categories(path, columns.rest, accepted)
    if not {category["id"] for category in categories} >= set(np.unique(columns.category).tolist()):
        return None
    return _annotated(path, columns, categories, accepted)


def read_carefully(path: Path) -> Annotations:
    """Read and check a file as `read_annotations` does, record by record."""
    content = _content(path)
    accepted: Counter[str] = Counter()
    categories = _categories(path, content, accepted)
    return _annotated(path, _checked_columns(path, content, categories, accepted), categories, accepted)


def _checked_columns(path: Path, content: Record, categories: list[Record], accepted: Counter[str]) -> Decoded:
    """Check each record and return the columns. Raises UserError."""
    read = partial(_records, path, content, accepted)
    images = read("images", {"id": _whole, "file_name": _text, "width": _side, "height": _side})
    for number, annotation in enumerate(content["annotations"] if _are_records(content.get("annotations")) else []):
        _add_box(path, number, annotation, accepted)
    needed = {"image_id": _whole, "category_id": _whole, "bbox": _box}
    found = read("annotations", needed, {"area": _area, "iscrowd": _flag})
    _check_unique(path, "images", "id", images)
    names = [_name("annotations", number, record) for number, record in enumerate(content["annotations"])]
    _check_references(path, found, names, {"image_id": images, "category_id": categories})
    areas = (record.get("area") for record in found)
    places = {image["id"]: place for place, image in enumerate(images)}
    return Decoded(
        content,
        Images.of(images),
        image=np.array([places[record["image_id"]] for record in found], dtype=np.int32),
        category=np.array([record["category_id"] for record in found], dtype=object),  # of any length
        bbox=np.array([record["bbox"] for record in found], dtype=np.float64).reshape(-1, 4),
        area=np.array([math.nan if area is None else area for area in areas], dtype=np.float64),
        crowd=np.array([bool(record.get("iscrowd")) for record in found], dtype=bool),
        ids=[record.get("id", UNSET) for record in content["annotations"]],
    )


def _annotated(path: Path, columns: Decoded, categories: list[Record], accepted: Counter[str]) -> Annotations:
    """Return the annotations of columns whose categories are all known. Raises UserError for categories."""
    ids = [category["id"] for category in categories]
    used, inverse = np.unique(columns.category, return_inverse=True)
    placeholders = _placeholders(columns.rest["categories"], categories, set(used.tolist()))
    _check_unique(path, "categories", "id", categories)
    _check_unique(path, "categories", "name", [each for each in categories if each["id"] not in placeholders])
    places = {id_: place for place, id_ in enumerate(ids)}
    labels = np.array([places[id_] for id_ in used.tolist()], dtype=np.int32)[inverse]
    of_boxes = columns.bbox[:, 2] * columns.bbox[:, 3]
    is_given = ~np.isnan(columns.area)
    odd = is_given & (of_boxes > 0) & ~((columns.area > 0) & (columns.area <= 1.1 * of_boxes + 1))
    if odd.any():
        accepted["areas are 0 or larger than their boxes, which affects COCO's small, medium and large"] = int(
            odd.sum()
        )
    area = np.where(is_given, columns.area, of_boxes)

    def name(place: int) -> str:
        id_ = columns.ids[place]
        return f"{path}: {_name('annotations', place, {} if id_ is UNSET else {'id': id_})}"

    return checked(
        columns.images,
        Objects(image=columns.image, label=labels, bbox=columns.bbox, area=area, crowd=columns.crowd),
        tuple(category["name"] for category in categories),
        tuple(ids),
        name,
        [f"{count:,} {words}" for words, count in accepted.items()],
        placeholders,
    )


def _categories(path: Path, content: Record, accepted: Counter[str]) -> list[Record]:
    """Return the categories in the order of their ids."""
    found = _records(path, content, accepted, "categories", {"id": _whole, "name": _text})
    return sorted(found, key=lambda category: category["id"])


def _content(path: Path) -> Record:
    whole = read_bytes(path)
    if not whole.strip():
        raise UserError(f"{path} is empty; allowed is JSON in COCO's format")
    try:
        content = json.loads(whole)
    except RecursionError:
        raise UserError(f"{path} is nested too deeply; allowed is JSON in COCO's format") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {first_line(error)}") from error
    if not isinstance(content, dict):
        found = type(content).__name__
        raise UserError(f"{path} holds a {found}; allowed is an object with images, annotations and categories")
    return content


# --- checks ----------------------------------------------------------------------------------------------------------


def _whole(value: Any) -> tuple[Any, str]:
    if isinstance(value, float) and value.is_integer():
        return int(value), ""
    return value, "" if is_whole(value) else "a whole number"


def _side(value: Any) -> tuple[Any, str]:
    whole, allowed = _whole(value)
    fits = not allowed and 0 < whole <= MOST_PIXELS
    return whole, "" if fits else f"a whole number above 0, up to {MOST_PIXELS}"


def _text(value: Any) -> tuple[Any, str]:
    return value, "" if isinstance(value, str) and value.strip() else "a text"


def _area(value: Any) -> tuple[Any, str]:
    return value, "" if value is None or (is_number(value) and value >= 0) else "a finite number from 0"


def _flag(value: Any) -> tuple[Any, str]:
    return (0 if value is None else value), "" if value in (None, 0, 1) else "0 or 1"


def _box(value: Any) -> tuple[Any, str]:
    fits = isinstance(value, list) and len(value) == 4 and all(map(is_number, value)) and min(value[2:]) >= 0
    if fits and max(map(abs, value)) <= MOST_COORDINATE:
        return value, ""
    limit = f", at most {MOST_COORDINATE}" if fits else ""
    return value, f"four finite numbers: x, y, and width and height from 0{limit}"


_ACCEPTED = {
    _whole: "ids have a decimal point, such as 1.0",
    _side: "widths and heights of images have a decimal point",
    _area: "areas are null; box areas are used",
    _flag: "iscrowd are null and read as 0",
}


def _records(
    path: Path, content: Record, accepted: Counter[str], part: str, needed: Checks, optional: Checks | None = None
) -> list[Record]:
    """Return the wanted values of each record of a part, and count accepted irregularities. Raises UserError."""
    records = content.get(part)
    if not isinstance(records, list):
        found = "lacks" if records is None else f"has a {type(records).__name__} as"
        raise UserError(f"{path} {found} {part!r}; allowed is a list")
    if not records and part != "annotations":
        raise UserError(f"{path}: {part!r} is empty; allowed is one or more")
    checks = {**needed, **(optional or {})}
    return [_record(path, part, number, record, needed, checks, accepted) for number, record in enumerate(records)]


def _record(
    path: Path, part: str, number: int, record: Any, needed: Checks, checks: Checks, accepted: Counter[str]
) -> Record:
    if not isinstance(record, dict):
        raise UserError(f"{path}: {part}[{number}] is {_short(record)}; allowed is an object with {', '.join(needed)}")
    missing = [key for key in needed if key not in record]
    if missing:
        raise UserError(f"{path}: {_name(part, number, record)} lacks {missing[0]!r}; required are {', '.join(needed)}")
    kept = {}
    for key, check in checks.items():
        if key not in record:
            continue
        kept[key], allowed = check(record[key])
        if allowed:
            raise UserError(
                f"{path}: {_name(part, number, record)} has {key} {_short(record[key])}; allowed is {allowed}"
            )
        if check in _ACCEPTED and (record[key] is None or type(kept[key]) is not type(record[key])):
            accepted[_ACCEPTED[check]] += 1
    return kept


def _are_records(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(record, dict) for record in value)


def _add_box(path: Path, number: int, annotation: Record, accepted: Counter[str]) -> None:
    """Set the box of an annotation without one from its segmentation."""
    if annotation.get("bbox") not in (None, []) or not annotation.get("segmentation"):
        return
    try:
        annotation["bbox"] = box_of_segmentation(annotation["segmentation"])
    except UserError as error:
        raise UserError(f"{path}: {_name('annotations', number, annotation)} lacks 'bbox', and {error}") from None
    accepted["boxes are missing and taken from segmentations"] += 1


def _placeholders(written: list[Record], categories: list[Record], used: set[int]) -> frozenset[int]:
    """Return the ids of placeholder classes, such as Roboflow's: no objects, and the supercategory of all others."""
    above = {record.get("supercategory") for record in written if record.get("supercategory") not in (None, "", "none")}
    roots = {_whole(record["id"])[0] for record in written if record.get("supercategory") in (None, "", "none")}
    if len(above) != 1 or len(roots) != 1:
        return frozenset()
    return frozenset(each["id"] for each in categories if each["id"] in roots - used and each["name"] in above)


def _check_unique(path: Path, part: str, key: str, records: list[Record]) -> None:
    seen = set()
    for record in records:
        if record[key] in seen:
            raise UserError(f"{path}: {part} holds the {key} {record[key]!r} twice; allowed is once")
        seen.add(record[key])


def _check_references(
    path: Path, annotations: list[Record], names: list[str], targets: dict[str, list[Record]]
) -> None:
    for key, records in targets.items():
        known = {record["id"] for record in records}
        for number, annotation in enumerate(annotations):
            if annotation[key] not in known:
                raise UserError(
                    f"{path}: {names[number]} has {key} {_short(annotation[key])}; allowed are {_listed(known)}"
                )


def _name(part: str, number: int, record: Record) -> str:
    """Name a record by its place, and by its id where it has one, as in "annotations[3] (id 17)"."""
    return f"{part}[{number}]" + (f" (id {_short(record['id'])})" if "id" in record else "")


def _short(value: Any) -> str:
    """Return the repr of a value, shortened if long."""
    try:
        text = repr(value)
    except ValueError:  # thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _listed(ids: set[int]) -> str:
    first = sorted(ids)[:10]
    return ", ".join(map(str, first)) + (f", ... ({len(ids)} in all)" if len(ids) > len(first) else "")
