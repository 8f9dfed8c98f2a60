"""Reads one image's label file: lines with a class and a box or polygon, in fractions of the image's sides."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from scaling_lab.data.images import BrokenImage, Reading, look_at_image
from scaling_lab.data.segmentations import box_of_points
from scaling_lab.data.yolo_config import Config
from scaling_lab.errors import UserError, printable
from scaling_lab.files import read_bytes

_ALLOWED = "allowed are class, x, y, width, height, or class and the points of a polygon"
# Above this, a fraction is not a rounding error: the numbers are pixels.
_MOST = 2.0
# Size of an image that cannot be opened; reading it raises the error.
_UNKNOWN = (1, 1)


@dataclass(frozen=True, slots=True)
class Box:
    """One line of a label file: its class, and its box as x, y, width, height in pixels."""

    line: int
    label: int
    bbox: list[float]
    from_points: bool


@dataclass(frozen=True, slots=True)
class Labelled:
    """One image: its width and height in pixels, and its boxes. `label` is its label file, or None."""

    image: Path
    label: Path | None
    size: tuple[int, int]
    boxes: tuple[Box, ...]


def label_files(images: Iterable[Path]) -> dict[Path, Path | None]:
    """Return each image's label file: in labels/ instead of the path's last images/, in labels/ next to it, or next to it."""
    names: dict[Path, set[str]] = {}
    found: dict[Path, Path | None] = {}
    places: dict[Path, list[Path]] = {}
    for image in images:
        folder = image.parent
        if folder not in places:
            places[folder] = [place for place in _label_folders(folder) if place.is_dir()]
            names |= {
                place: {path.name for path in place.glob("*.txt")} for place in places[folder] if place not in names
            }
        name = f"{image.stem}.txt"
        found[image] = next((place / name for place in places[folder] if name in names[place]), None)
    return found


def _label_folders(folder: Path) -> list[Path]:
    parts = folder.parts
    places = [place for place, part in enumerate(parts) if part.lower() == "images"]
    swapped = [Path(*parts[:place], "labels", *parts[place + 1 :]) for place in reversed(places)]
    return list(dict.fromkeys([*swapped, folder / "labels", folder.parent / "labels", folder]))


def read_labelled(image: Path, label: Path | None, config: Config, reading: Reading) -> Labelled:
    """Read an image's size, oriented by `reading`, and its label file. Raises UserError with file and line."""
    try:
        size = look_at_image(image, reading).size[::-1]
    except BrokenImage:
        size = _UNKNOWN
    if label is None:
        return Labelled(image, None, size, ())
    try:
        lines = read_bytes(label).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{label} is not text; allowed is a class and a box a line") from None
    boxes = tuple(_box(label, number, line, size, config) for number, line in enumerate(lines, 1) if line.strip())
    return Labelled(image, label, size, boxes)


def _box(label: Path, number: int, line: str, size: tuple[int, int], config: Config) -> Box:
    where = f"{label}, line {number}"
    try:
        first, *numbers = (float(word) for word in line.replace(",", " ").split())
    except ValueError:
        raise UserError(f"{where}, is '{printable(line[:80])}'; {_ALLOWED}") from None
    if not all(map(math.isfinite, (first, *numbers))):
        raise UserError(f"{where}, has a non-finite number; {_ALLOWED}")
    if not first.is_integer() or not 0 <= first < len(config.names):
        raise UserError(
            f"{where}, has the class {first:g}; allowed are 0 to {len(config.names) - 1}, the classes of {config.path}"
        )
    from_points = not config.has_keypoints and len(numbers) >= 6 and len(numbers) % 2 == 0
    if len(numbers) != 4 and not from_points and not (config.has_keypoints and len(numbers) > 4):
        raise UserError(f"{where}, has {len(numbers) + 1} numbers; {_ALLOWED}")
    if from_points:
        x, y, width, height = box_of_points(list(zip(numbers[::2], numbers[1::2], strict=True)))
    else:
        centre_x, centre_y, width, height = numbers[:4]
        x, y = centre_x - width / 2, centre_y - height / 2
    if max(map(abs, (x, y, width, height))) > _MOST:
        raise UserError(
            f"{where}, has {max(numbers, key=abs):g}; allowed are fractions of the image's sides from 0 to 1, not pixels"
        )
    if min(width, height) < 0:
        raise UserError(f"{where}, has the size {width:g}, {height:g}; allowed are sizes from 0")
    wide, high = size
    return Box(number, int(first), [x * wide, y * high, width * wide, height * high], from_points)
