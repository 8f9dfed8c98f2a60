"""Reads one annotation file in COCO's format and checks it. No image, no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from scaling_lab.checks import is_number, is_whole
from scaling_lab.data.entries import Annotations, Record, annotated
from scaling_lab.data.files import read_bytes
from scaling_lab.errors import UserError

Checks = Mapping[str, Callable[[Any], str]]


@lru_cache(maxsize=4)
def read_annotations(path: Path, stamp: tuple[int, int]) -> Annotations:
    """Read and check the file once; `stamp` is its time and size, so that a changed file is read again.

    Raises UserError for what is not JSON, lacks a key, holds a value of another kind, or names an unknown id.
    """
    content = _content(path)
    categories = _records(path, content, "categories", {"id": _is_whole, "name": _is_text})
    sizes = {"width": _is_side, "height": _is_side}
    images = _records(path, content, "images", {"id": _is_whole, "file_name": _is_text, **sizes})
    needed = {"image_id": _is_whole, "category_id": _is_whole, "bbox": _is_box}
    annotations = _records(path, content, "annotations", needed, {"area": _is_size, "iscrowd": _is_flag})
    categories.sort(key=lambda category: category["id"])
    _check_unique(path, "categories", "id", categories)
    _check_unique(path, "categories", "name", categories)
    _check_unique(path, "images", "id", images)
    _check_references(path, annotations, {"image_id": images, "category_id": categories})
    ground_truth = {
        "images": [{key: image[key] for key in ("id", "width", "height", "file_name")} for image in images],
        "annotations": [_annotation(number, annotation) for number, annotation in enumerate(annotations, 1)],
        "categories": [{key: category[key] for key in ("id", "name")} for category in categories],
    }
    return annotated(ground_truth, lambda place: f"{path}: {_name('annotations', place, annotations[place])}")


def _content(path: Path) -> Record:
    whole = read_bytes(path)
    try:
        content = json.loads(whole)
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        found = type(content).__name__
        raise UserError(f"{path} holds a {found}; allowed is an object of images, annotations and categories")
    return content


# --- checks: each gives what is allowed, in words, or nothing where the value fits ------------------------------------


def _is_whole(value: Any) -> str:
    return "" if is_whole(value) else "a whole number"


def _is_side(value: Any) -> str:
    return "" if is_whole(value) and value > 0 else "a whole number above 0"


def _is_text(value: Any) -> str:
    return "" if isinstance(value, str) and value else "a text"


def _is_size(value: Any) -> str:
    return "" if is_number(value) and value >= 0 else "a finite number from 0"


def _is_flag(value: Any) -> str:
    return "" if value in (0, 1) else "0 or 1"


def _is_box(value: Any) -> str:
    fits = isinstance(value, list) and len(value) == 4 and all(map(is_number, value)) and min(value[2:]) >= 0
    return "" if fits else "four finite numbers: x, y, and width and height from 0"


def _records(path: Path, content: Record, part: str, needed: Checks, optional: Checks | None = None) -> list[Record]:
    records = content.get(part)
    if not isinstance(records, list):
        found = "lacks" if records is None else f"has a {type(records).__name__} as"
        raise UserError(f"{path} {found} {part!r}; allowed is a list")
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise UserError(f"{path}: {part}[{number}] is {record!r}; allowed is an object with {', '.join(needed)}")
        missing = [key for key in needed if key not in record]
        if missing:
            raise UserError(
                f"{path}: {_name(part, number, record)} lacks {missing[0]!r}; needed are {', '.join(needed)}"
            )
        for key, check in {**needed, **(optional or {})}.items():
            allowed = check(record[key]) if key in record else ""
            if allowed:
                name = _name(part, number, record)
                raise UserError(f"{path}: {name} has {key} {record[key]!r}; allowed is {allowed}")
    if not records and part != "annotations":
        raise UserError(f"{path}: {part!r} is empty; allowed is one or more")
    return list(records)


def _check_unique(path: Path, part: str, key: str, records: list[Record]) -> None:
    seen = set()
    for record in records:
        if record[key] in seen:
            raise UserError(f"{path}: {part} holds the {key} {record[key]!r} twice; allowed is once")
        seen.add(record[key])


def _check_references(path: Path, annotations: list[Record], targets: dict[str, list[Record]]) -> None:
    for key, records in targets.items():
        known = {record["id"] for record in records}
        for number, annotation in enumerate(annotations):
            if annotation[key] not in known:
                name = _name("annotations", number, annotation)
                raise UserError(f"{path}: {name} has {key} {annotation[key]}; allowed are {_listed(known)}")


def _name(part: str, number: int, record: Record) -> str:
    """Name a record by its place, and by its id where it has one, as in "annotations[3] (id 17)"."""
    return f"{part}[{number}]" + (f" (id {record['id']!r})" if "id" in record else "")


def _listed(ids: set[int]) -> str:
    first = sorted(ids)[:10]
    return ", ".join(map(str, first)) + (f", ... ({len(ids)} in all)" if len(ids) > len(first) else "")


# --- what is kept ----------------------------------------------------------------------------------------------------


def _annotation(number: int, annotation: Record) -> Record:
    x, y, width, height = annotation["bbox"]
    # Numbered anew: evaluators take the id 0, which some files have, for "no match".
    return {
        "id": number,
        "image_id": annotation["image_id"],
        "category_id": annotation["category_id"],
        "bbox": [x, y, width, height],
        "area": annotation.get("area", width * height),
        "iscrowd": int(annotation.get("iscrowd", 0)),
    }
