"""Reads one split in Pascal VOC's layout, checks it and converts it to COCO's form.

A box in VOC's XML names its first and last pixel, counted from 1: xmin 1 and xmax 500 cover an image of 500 pixels. Here a
box has edges, counted from 0: x0 = xmin - 1 and x1 = xmax (as in detectron2, data/datasets/pascal_voc.py). Tools that
count from 0 give boxes that are one pixel off, at most one pixel outside the image, which is accepted.

A "difficult" object becomes a COCO crowd: not trained on, not counted as missed, and its detections are not false
positives, as in VOC's own evaluation (VOC2007 development kit, VOCevaldet.m). COCO's evaluators overwrite `ignore` with
`iscrowd`, so a crowd is the only mark. Difference: overlap with a crowd is the share of the detection's own area.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from scaling_lab.checks import is_number, near
from scaling_lab.data.entries import Annotations, annotated
from scaling_lab.data.image_files import is_image
from scaling_lab.errors import UserError
from scaling_lab.files import read_bytes

Stamp = tuple[int, ...]
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_LISTS = "ImageSets/Main"
_FIRST = (".jpg", ".jpeg")
_IMAGE_FOLDERS = ("JPEGImages", "images", "Images")


@dataclass(frozen=True, slots=True)
class _Object:
    """One object element: its box as x, y, width, height, and whether it is marked as difficult."""

    place: int
    name: str
    bbox: list[float]
    difficult: bool


@dataclass(frozen=True, slots=True)
class _Picture:
    """One XML file."""

    path: Path
    file_name: str
    size: tuple[int, int]
    objects: tuple[_Object, ...]


def read_voc(root: Path, split: str, stamp: Stamp, classes: tuple[str, ...]) -> Annotations:
    """Read and check a split. Category ids are positions in `classes`, image ids those in the split's list, both from 1.

    Raises UserError for an invalid file, and for an object of an unknown class.
    """
    ids = {name: number for number, name in enumerate(classes, 1)}
    pictures = _pictures(root, split, stamp)
    files = _image_files(image_folder(root, split, stamp))
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    names: list[str] = []
    for image_id, picture in enumerate(pictures, 1):
        height, width = picture.size
        stem = picture.path.stem
        file_name = files.get(stem) or files.get(Path(picture.file_name).stem) or f"{stem}.jpg"
        images.append({"id": image_id, "width": width, "height": height, "file_name": file_name})
        for thing in picture.objects:
            names.append(_named(picture.path, thing.place, thing.name))
            if thing.name not in ids:
                raise UserError(
                    f"{names[-1]} has an unknown class{near(thing.name, classes)}; allowed are {_listed(classes)}, "
                    "other names given as classes, or classes=found"
                )
            box = {"bbox": thing.bbox, "area": thing.bbox[2] * thing.bbox[3], "iscrowd": int(thing.difficult)}
            annotations.append({"id": len(names), "image_id": image_id, "category_id": ids[thing.name], **box})
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    return annotated(truth, names.__getitem__)


def found_classes(root: Path, splits: Sequence[tuple[str, Stamp]]) -> tuple[str, ...]:
    """Return the class names of all objects of these splits, in alphabetical order. Raises UserError."""
    names = {
        thing.name for split, stamp in splits for picture in _pictures(root, split, stamp) for thing in picture.objects
    }
    if not names:
        raise UserError(f"{root / 'Annotations'} holds no object in {' and '.join(name for name, _ in splits)}")
    return tuple(sorted(names))


def split_file(root: Path, split: str) -> Path:
    """Return the list of a split's images, or else the folder with its XML files."""
    path = root / _LISTS / f"{split}.txt"
    folder = root / split
    return folder if not path.is_file() and _holds_xml(folder) else path


def split_names(root: Path) -> list[str]:
    """Return the names of the splits that have a list, without lists of single classes, such as dog_train for train.

    Without lists, return the folders that hold XML files, as in Roboflow's export.
    """
    names = {path.stem for path in (root / _LISTS).glob("*.txt")}
    if names:
        return sorted(name for name in names if name.rpartition("_")[2] not in names - {name})
    return sorted(child.name for child in root.iterdir() if _holds_xml(child))


@lru_cache(maxsize=8)
def image_folder(root: Path, split: str, stamp: Stamp) -> Path:
    """Return the folder with a split's images."""
    path = split_file(root, split)
    named = [root / name for name in _IMAGE_FOLDERS]
    if path.is_dir() and _holds_images(path):
        return path
    there = [folder for folder in named if folder.is_dir()] or [root] * _holds_images(root)
    return (there or named)[0]


def _holds_images(folder: Path) -> bool:
    return any(map(is_image, folder.iterdir()))


def _holds_xml(folder: Path) -> bool:
    return folder.is_dir() and next(folder.glob("*.xml"), None) is not None


@lru_cache(maxsize=4)
def digest_split(root: Path, split: str, stamp: Stamp) -> bytes:
    """Return a hash of a split's list and XML files."""
    path = split_file(root, split)
    digest = hashlib.sha256(read_bytes(path) if path.is_file() else b"")
    for path in _xml_files(root, split):
        digest.update(hashlib.sha256(read_bytes(path)).digest())
    return digest.digest()


@lru_cache(maxsize=4)
def _pictures(root: Path, split: str, stamp: Stamp) -> tuple[_Picture, ...]:
    return tuple(_picture(path) for path in _xml_files(root, split))


def _xml_files(root: Path, split: str) -> list[Path]:
    """Return the annotation files of a split, in the order of its list. Raises UserError."""
    path = split_file(root, split)
    if path.is_dir():
        return sorted(path.glob("*.xml"))
    try:
        lines = read_bytes(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text in UTF-8: {error}") from None
    found: dict[str, Path] = {}
    for number, line in enumerate(lines, 1):
        name = line.strip()
        if not name:
            continue
        annotation = root / "Annotations" / f"{name}.xml"
        # Lists of single classes have 1, 0 or -1 after each name; names may contain spaces.
        words = name.split()
        if len(words) == 2 and words[1] in ("1", "0", "-1") and not annotation.is_file():
            name = words[0]
            annotation = root / "Annotations" / f"{name}.xml"
        if "/" in name or "\\" in name or (len(name.split()) > 1 and not annotation.is_file()):
            raise UserError(f"{path}, line {number}, is {name!r}; allowed is an image's name without its ending")
        if name in found:
            raise UserError(f"{path}, line {number}, repeats {name!r}; allowed is once")
        found[name] = annotation
    if not found:
        raise UserError(f"{path} is empty; allowed is one image name a line")
    return list(found.values())


def _image_files(folder: Path) -> dict[str, str]:
    """Return image file names by stem; .jpg is preferred. Raises UserError."""
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist; allowed is a folder with the images")
    files = [path for path in folder.iterdir() if is_image(path)]
    files.sort(key=lambda path: (path.suffix.lower() not in _FIRST, path.name), reverse=True)
    return {path.stem: path.name for path in files}


# --- one XML file ----------------------------------------------------------------------------------------------------


class _Plain(ElementTree.TreeBuilder):
    """Rejects a DOCTYPE, whose entities may name other files or grow without bound."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise UserError("has a DOCTYPE; allowed is XML without one")


def _picture(path: Path) -> _Picture:
    parser = ElementTree.XMLParser(target=_Plain())
    content = read_bytes(path)
    try:
        parser.feed(content)
        root = parser.close()
    except UserError as error:
        raise UserError(f"{path} {error}") from None
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise UserError(f"{path} is not XML: {error}") from None
    if root.tag != "annotation":
        raise UserError(f"{path} holds a <{root.tag}>; allowed is an <annotation>")
    size = (_side(path, root, "height"), _side(path, root, "width"))
    objects = tuple(_object(path, place, element) for place, element in enumerate(root.findall("object"), 1))
    file_name = (_text(root, "filename") or "").replace("\\", "/").rpartition("/")[2]
    return _Picture(path, file_name, size, objects)


def _side(path: Path, root: ElementTree.Element, side: str) -> int:
    text = _text(root, f"size/{side}")
    if text is None:
        raise UserError(f"{path} lacks size/{side}; required are the image's width and height")
    if not (text.isascii() and text.isdigit() and len(text) < 7 and int(text) > 0):
        raise UserError(f"{path} has size/{side} {text!r}; allowed is a whole number above 0")
    return int(text)


def _object(path: Path, place: int, element: ElementTree.Element) -> _Object:
    name = _text(element, "name")
    if not name:
        raise UserError(f"{path}: object {place} has no name; allowed is the name of a class")
    thing = _named(path, place, name)
    x0, y0, x1, y1 = (_edge(thing, element, side) for side in _SIDES)
    for low, high, axis in ((x0, x1, "x"), (y0, y1, "y")):
        if low > high:
            raise UserError(f"{thing} has {axis}min {low:g} and {axis}max {high:g}; allowed is {axis}min <= {axis}max")
    difficult = _text(element, "difficult") or "0"
    if difficult not in ("0", "1"):
        raise UserError(f"{thing} has difficult {difficult!r}; allowed is 0 or 1")
    return _Object(place, name, [x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1], difficult == "1")


def _edge(thing: str, element: ElementTree.Element, side: str) -> float:
    text = _text(element, f"bndbox/{side}")
    if text is None:
        raise UserError(f"{thing} lacks bndbox/{side}; required are {', '.join(_SIDES)}")
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not is_number(value):
        raise UserError(f"{thing} has {side} {text!r}; allowed is a finite number")
    return value


def _text(element: ElementTree.Element, path: str) -> str | None:
    """Return the text of a child element, or None."""
    text = element.findtext(path)
    return None if text is None else text.strip()


def _named(path: Path, place: int, name: str) -> str:
    return f"{path}: object {place} ({name})"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f", ... ({len(names)} in all)" if len(names) > 20 else "")
