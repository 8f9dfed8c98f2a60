"""Coco, a data set in COCO's layout on disk: its settings, annotations and images. It imports no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scaling_lab.checks import Fields, check_text
from scaling_lab.data.annotations import Annotations, Entry, read_annotations
from scaling_lab.errors import UserError

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, kw_only=True)
class Coco(Fields):
    """FOLDER/annotations/instances_SPLIT.json and FOLDER/SPLIT/ with the images, for the two splits named here.

    Nothing is read before it is asked for, so that a study can be loaded where its data are not. Every reading property
    and method raises UserError with the file, the thing and what is allowed.
    """

    kind: ClassVar[str] = "coco"
    # Left and right alone: photographs have an up.
    mirrors: ClassVar[str] = "x"

    folder: str
    train: str = "train2017"
    val: str = "val2017"

    def __post_init__(self) -> None:
        if isinstance(self.folder, Path):
            object.__setattr__(self, "folder", str(self.folder))
        for name in ("folder", "train", "val"):
            check_text(f"Coco: {name}", getattr(self, name), "a name")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of `category_ids`."""
        return tuple(category["name"] for category in self._categories())

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The ids of the file in rising order: a place in this tuple is the class index that the network uses."""
        return tuple(category["id"] for category in self._categories())

    def to_dict(self) -> dict[str, Any]:
        """Give the plain values from which `source_from_dict` makes it again."""
        return {"kind": self.kind, **asdict(self)}

    def digest(self) -> str:
        """Hash the names of the splits and the bytes of both annotation files."""
        digest = hashlib.sha256(json.dumps([self.train, self.val]).encode())
        for split in ("train", "val"):
            digest.update(_digest(*self._stamped(split)))
        return digest.hexdigest()

    def describe(self) -> str:
        """Say in one line what it is."""
        counts = f"{self.length('train')} images of {self.train} and {self.length('val')} of {self.val}"
        return f"COCO-format set {self.folder}: {counts}, {len(self.category_ids)} classes"

    def length(self, split: str) -> int:
        """Count the images of a split, those without an object too."""
        return len(self.entries(split))

    def ground_truth(self, split: str) -> dict[str, Any]:
        """The images, annotations (crowds too) and categories of the file, with `area` and `iscrowd` always there."""
        return self._annotations(split).ground_truth

    def entries(self, split: str) -> list[Entry]:
        """The images of a split, with the boxes to train on."""
        found = self._annotations(split)
        if split == "train" and [c["id"] for c in found.ground_truth["categories"]] != list(self.category_ids):
            ids = [c["id"] for c in found.ground_truth["categories"]]
            raise UserError(
                f"{self.annotation_file('train')} has the category ids {ids}, {self.annotation_file('val')} has "
                f"{list(self.category_ids)}; both must have the same"
            )
        return found.entries

    def samples(self, count: int) -> list[tuple[int, np.ndarray]]:
        """Read the first `count` held-out images that show an object, as (image id, RGB uint8 of height, width, 3)."""
        entries = [entry for entry in self.entries("val") if len(entry.labels)][:count]
        return [(entry.image_id, np.array(self.image("val", entry))) for entry in entries]

    def image(self, split: str, entry: Entry) -> Image.Image:
        """Read one image as RGB; its size must be the annotations'."""
        return _read_image(self._root() / getattr(self, split) / entry.file_name, entry)

    def annotation_file(self, split: str) -> Path:
        """Name the file that holds a split's annotations."""
        return self._root() / "annotations" / f"instances_{getattr(self, split)}.json"

    def _root(self) -> Path:
        return Path(self.folder).expanduser()

    def _categories(self) -> list[dict[str, Any]]:
        # The held-out file is the smaller one; `entries` checks that the other agrees.
        categories: list[dict[str, Any]] = self._annotations("val").ground_truth["categories"]
        return categories

    def _annotations(self, split: str) -> Annotations:
        return read_annotations(*self._stamped(split))

    def _stamped(self, split: str) -> tuple[Path, tuple[int, int]]:
        # With time and size, so that a file is read once in a process, and again where it has changed.
        if not self._root().is_dir():
            raise UserError(
                f"the folder {self.folder} does not exist; allowed is one that holds annotations/ and images"
            )
        path = self.annotation_file(split)
        if not path.is_file():
            allowed = "a folder in COCO's layout, or the names of its splits as train and val"
            raise UserError(f"{path} does not exist; allowed is {allowed}")
        status = path.stat()
        return path, (status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _digest(path: Path, stamp: tuple[int, int]) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _read_image(path: Path, entry: Entry) -> Image.Image:
    from PIL import Image

    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist, but the annotations name it (image id {entry.image_id})") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} cannot be read as an image: {error}; allowed is a whole JPEG or PNG file") from error
    if (image.height, image.width) != entry.size:
        said = f"{entry.size[1]} x {entry.size[0]}"
        raise UserError(f"{path} is {image.width} x {image.height} pixels, the annotations say {said}; they must agree")
    return image
