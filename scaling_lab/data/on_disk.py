"""What Coco and Voc have in common: the settings and readings of a set of images on disk. It knows no file format."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scaling_lab.checks import Fields, check_flag, check_text
from scaling_lab.data.entries import MOST_OUTSIDE, Annotations, Entry
from scaling_lab.data.files import check_whole_image, missing_image, read_image
from scaling_lab.errors import UserError

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, kw_only=True)
class OnDisk(Fields, ABC):
    """A folder with images and annotations for two splits, `train` to train on and `val` held out.

    `skip_broken`: a training image that is missing or broken is left out, another takes its place in the batch, and it is
    counted; held-out images are never skipped, for the AP is of all of them. `cut_boxes`: a box that reaches out of its image
    by more than a pixel is cut off at the edge in training (the ground truth for the AP stays the file's), where without
    it such a box is an error.

    Nothing is read before it is asked for, so that a study can be loaded where its data are not. Every reading property
    and method raises UserError with the file, the thing and what is allowed.
    """

    kind: ClassVar[str]
    _format: ClassVar[str]
    _annotations_folder: ClassVar[str]
    # Left and right alone: photographs have an up.
    mirrors: ClassVar[str] = "x"

    folder: str
    train: str
    val: str
    skip_broken: bool = False
    cut_boxes: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.folder, Path):
            object.__setattr__(self, "folder", str(self.folder))
        for name in ("folder", "train", "val"):
            check_text(f"{type(self).__name__}: {name}", getattr(self, name), "a name")
        for name in ("skip_broken", "cut_boxes"):
            check_flag(f"{type(self).__name__}: {name}", getattr(self, name))

    # --- what a format says of itself

    @abstractmethod
    def read_split(self, split: str) -> Annotations:
        """Read and check a split's annotations, once in a process."""

    @abstractmethod
    def image_path(self, split: str, entry: Entry) -> Path:
        """Name the file of one image."""

    @abstractmethod
    def digest(self) -> str:
        """Hash the settings and the bytes of all annotation files."""

    # --- what follows from it

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of `category_ids`."""
        return tuple(category["name"] for category in self._categories("val"))

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The category ids in rising order: a place in this tuple is the class index that the network uses."""
        # The held-out split is the smaller one; `entries` checks that the other agrees.
        return tuple(category["id"] for category in self._categories("val"))

    @property
    def root(self) -> Path:
        """The folder as a path. Raises UserError where there is none."""
        root = Path(os.path.expanduser(self.folder))
        if not root.is_dir():
            raise UserError(
                f"the folder {self.folder} does not exist; allowed is one that holds {self._annotations_folder}/ and images"
            )
        return root

    def to_dict(self) -> dict[str, Any]:
        """Give the plain values from which `source_from_dict` makes it again."""
        return {"kind": self.kind, **asdict(self)}

    def describe(self) -> str:
        """Say in one line what it is."""
        counts = f"{self.length('train')} images of {self.train} and {self.length('val')} of {self.val}"
        return f"{self._format} {self.folder}: {counts}, {len(self.category_ids)} classes"

    def length(self, split: str) -> int:
        """Count the images of a split, those without an object too."""
        return len(self.entries(split))

    def ground_truth(self, split: str) -> dict[str, Any]:
        """The images, annotations (crowds too) and categories in COCO's form, with `area` and `iscrowd` always there."""
        return self._checked(split).ground_truth

    def entries(self, split: str) -> list[Entry]:
        """The images of a split, with the boxes to train on."""
        found = self._checked(split)
        if split == "train" and found.ground_truth["categories"] != self._categories("val"):
            raise UserError(self._other_categories(found.ground_truth["categories"]))
        return found.entries

    def samples(self, count: int) -> list[tuple[int, np.ndarray]]:
        """Read the first `count` held-out images that show an object, as (image id, RGB uint8 of height, width, 3)."""
        entries = [entry for entry in self.entries("val") if len(entry.labels)][:count]
        return [(entry.image_id, np.array(self.image("val", entry))) for entry in entries]

    def check_images(self, *splits: str) -> None:
        """Raise UserError where a file is not there, or a held-out image is cut short: hours of training should not end so.

        What `skip_broken` allows to be missing is not looked for. No image is decoded whose end is there.
        """
        for split in splits:
            if split == "train" and self.skip_broken:
                continue
            there: dict[Path, set[str]] = {}
            missing = []
            for entry in self.entries(split):
                path = self.image_path(split, entry)
                if path.parent not in there:
                    there[path.parent] = set(os.listdir(path.parent)) if path.parent.is_dir() else set()
                if path.name not in there[path.parent]:
                    missing.append((path, entry))
            if missing:
                path, entry = missing[0]
                others = f" (and {len(missing) - 1} more of {getattr(self, split)})" if len(missing) > 1 else ""
                raise missing_image(path, entry, others)
            if split == "val":
                for entry in self.entries(split):
                    check_whole_image(self.image_path(split, entry), entry)

    def image(self, split: str, entry: Entry) -> Image.Image:
        """Read one image as RGB; its size must be the annotations'. Raises BrokenImage where there is no whole image."""
        return read_image(self.image_path(split, entry), entry)

    def _categories(self, split: str) -> list[dict[str, Any]]:
        categories: list[dict[str, Any]] = self.read_split(split).ground_truth["categories"]
        return categories

    def _checked(self, split: str) -> Annotations:
        found = self.read_split(split)
        if found.outside and not self.cut_boxes:
            others = f" (and {len(found.outside) - 1} more of {getattr(self, split)})" if len(found.outside) > 1 else ""
            raise UserError(
                f"{found.outside[0]}{others}; allowed is up to {MOST_OUTSIDE:g} pixel outside, or cut_boxes=True to cut boxes off"
            )
        return found

    def _other_categories(self, categories: list[dict[str, Any]]) -> str:
        held_out = {category["id"]: category["name"] for category in self._categories("val")}
        ids = [category["id"] for category in categories]
        if ids != list(held_out):
            return f"{self.train} has the category ids {ids}, {self.val} has {list(held_out)}; both must have the same"
        other = next(category for category in categories if category["name"] != held_out[category["id"]])
        return (
            f"{self.train} calls category {other['id']} {other['name']!r}, {self.val} calls it "
            f"{held_out[other['id']]!r}; both must say the same"
        )
