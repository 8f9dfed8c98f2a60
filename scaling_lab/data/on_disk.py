"""The common base of Coco, Voc and Yolo: settings of a data set on disk, and reading it."""

from __future__ import annotations

import contextlib
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scaling_lab.checks import Fields, check_flag, check_number, check_text
from scaling_lab.data.checked_images import check_whole_image, look_at, missing_image, read_image
from scaling_lab.data.entries import MOST_OUTSIDE, Annotations, Entries, Entry
from scaling_lab.data.images import BrokenImage, Look, Picture, Reading
from scaling_lab.errors import UserError, printable

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, kw_only=True)
class OnDisk(Fields, ABC):
    """A folder with images and annotations for two splits, `train` for training and `val` held out.

    `skip_broken`: a missing or broken training image is counted and replaced by another in its batch. Held-out images are
    never skipped, since AP covers all of them. `cut_boxes`: a box that exceeds its image by more than a pixel is clipped
    in training (ground truth for AP stays the file's). Without it such a box is an error. `val_fraction`: for a data set
    with a single split, this share of the images of `train` is held out, selected by name. `val` is then not used.
    `orientation` and `white` are those of `Reading`.

    Nothing is read before it is needed, so a study can be loaded without its data. Every reading property and method
    raises UserError with the file, the thing and what is allowed.
    """

    kind: ClassVar[str]
    # The layout of a folder in this format, for messages.
    layout: ClassVar[str]
    _format: ClassVar[str]
    # Left and right only: photographs have an up.
    mirrors: ClassVar[str] = "x"

    folder: str
    train: str
    val: str
    skip_broken: bool = False
    cut_boxes: bool = False
    orientation: str = Reading.orientation
    white: float | None = Reading.white
    val_fraction: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.folder, Path):
            object.__setattr__(self, "folder", str(self.folder))
        for name in ("folder", "train", "val"):
            check_text(f"{type(self).__name__}: {name}", getattr(self, name), "a name")
        for name in ("skip_broken", "cut_boxes"):
            check_flag(f"{type(self).__name__}: {name}", getattr(self, name))
        check_number(f"{type(self).__name__}: val_fraction", self.val_fraction, least=0, below=1)
        try:
            _ = self.reading
        except UserError as error:
            raise UserError(f"{type(self).__name__}: {error}") from None

    # --- defined by each format

    @classmethod
    @abstractmethod
    def splits_in(cls, root: Path) -> list[str]:
        """Return the names of a folder's splits in this format; none for a folder in another format."""

    @classmethod
    def fields_for(cls, root: Path, train: str, val: str) -> dict[str, Any]:
        """Return further fields that a folder with these splits needs."""
        return {}

    @abstractmethod
    def read(self, split: str) -> Annotations:
        """Read and check the annotation files of "train" or "val"."""

    @abstractmethod
    def state(self, split: str) -> Hashable:
        """Return a value that changes with a split's files, which are then read again."""

    @abstractmethod
    def image_path(self, split: str, entry: Entry) -> Path:
        """Return the path of an image."""

    @abstractmethod
    def digest(self) -> str:
        """Return a hash of the settings and the bytes of all annotation files."""

    def hint(self, split: str, entry: Entry) -> str:
        """Return a hint at the file that a missing image's name may mean."""
        return ""

    def image_remarks(self, split: str) -> tuple[str, ...]:
        """Return remarks on image names that were read with changes."""
        return ()

    # --- common to all formats

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class names, in the order of `category_ids`."""
        return self.read_split("val").class_names

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The category ids in `ground_truth`: 1, 2, …; class index i of a network is id i + 1."""
        return tuple(range(1, len(self.file_category_ids) + 1))

    @property
    def file_category_ids(self) -> tuple[int, ...]:
        """The category ids in the files, in ascending order, which is that of the classes."""
        # Read from the held-out split, which is smaller; `entries` checks that the other agrees.
        return self.read_split("val").category_ids

    def file_image_id(self, split: str, image_id: int) -> int:
        """Return an image's id in its file."""
        return self.read_split(split).image_ids[image_id - 1]

    @property
    def reading(self) -> Reading:
        """The settings for reading image files."""
        return Reading(orientation=self.orientation, white=self.white)

    @property
    def root(self) -> Path:
        """The folder as a path. Raises UserError where it does not exist."""
        root = Path(os.path.expanduser(self.folder))
        if not root.is_dir():
            raise UserError(f"the folder {self.folder} does not exist; allowed is a folder with {self.layout}")
        return root

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, which `source_from_dict` reads."""
        return {"kind": self.kind, **asdict(self)}

    def describe(self) -> str:
        """Describe the data set in one line."""
        train, val = (
            f"{len(self.read_split(split).images)} images of {self.split_name(split)}" for split in ("train", "val")
        )
        counts = f"{train} and {val.replace(' images', '', 1)}, {len(self.category_ids)} classes"
        return f"{self._format} {self.folder}{self._detail()}: {counts}"

    def _detail(self) -> str:
        """Return the found files, in brackets, if they are not obvious."""
        return ""

    def remarks(self) -> list[str]:
        """Return a line for each kind of accepted irregularity."""
        found = {split: [*self.read_split(split).remarks, *self.image_remarks(split)] for split in ("train", "val")}
        if found["train"] == found["val"]:
            return found["train"]
        return [f"{self.split_name(split)}: {line}" for split, lines in found.items() for line in lines]

    def split_name(self, split: str) -> str:
        """Return a split's name in the files, with a note where part of one is held out."""
        if not self.val_fraction:
            return str(getattr(self, split))
        return f"{self.train} (held out)" if split == "val" else self.train

    @property
    def origins(self) -> tuple[str, ...]:
        """The splits that have their own files."""
        return ("train",) if self.val_fraction else ("train", "val")

    def origin(self, split: str) -> str:
        """Return the split, "train" or "val", whose files contain this one."""
        return "train" if self.val_fraction else split

    def read_split(self, split: str) -> Annotations:
        """Read and check a split's annotations. Cached until the files change."""
        origin = self.origin(split)
        state = self.state(origin)
        found = _whole(self, origin, state)
        unused = found.placeholders
        if unused:  # in the other split too
            unused = unused.intersection(*(_whole(self, each, self.state(each)).placeholders for each in self.origins))
        return _changed(self, split, state, unused) if unused or self.val_fraction else found

    def length(self, split: str) -> int:
        """Return the number of images of a split, those without objects included."""
        return len(self.entries(split))

    def ground_truth(self, split: str) -> dict[str, Any]:
        """Return images, annotations (crowds too) and categories in COCO's form, with `area` and `iscrowd` always set."""
        return self.annotations(split).ground_truth

    def entries(self, split: str) -> Entries:
        """Return the images of a split with the boxes to train on."""
        found = self.annotations(split)
        self.check_categories(split)
        return found.entries

    def samples(self, count: int) -> list[tuple[int, np.ndarray]]:
        """Return the first `count` held-out images with an object, as (image id, RGB uint8 of height, width, 3)."""
        entries = [entry for entry in self.entries("val") if len(entry.labels)][:count]
        return [(entry.image_id, np.array(self.image("val", entry))) for entry in entries]

    def check_images(self, *splits: str) -> None:
        """Raise UserError where an image file is missing or a held-out image is truncated.

        Images that `skip_broken` may skip are not checked. A held-out image with a proper end is checked by header only.
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
                others = f" (and {len(missing) - 1} more of {self.split_name(split)})" if len(missing) > 1 else ""
                hint = self.hint(split, entry)
                raise missing_image(path, entry, f"{others}; {hint}" if hint else others)
            if split == "val":
                for entry in self.entries(split):
                    check_whole_image(self.image_path(split, entry), entry, self.reading)

    def image(self, split: str, entry: Entry) -> Image.Image:
        """Read one image as RGB, of the annotated size. Raises UserError, and BrokenImage for a missing or damaged file."""
        return self.picture(split, entry).image

    def picture(self, split: str, entry: Entry) -> Picture:
        """Read one image like `image`, with its header."""
        try:
            return read_image(self.image_path(split, entry), entry, self.reading)
        except BrokenImage as error:
            hint = self.hint(split, entry)
            raise type(error)(printable(f"{error}; {hint}" if hint else str(error))) from error

    def look(self, split: str, entry: Entry) -> Look:
        """Read one image's header. Raises the errors of `image` that the header shows."""
        return look_at(self.image_path(split, entry), entry, self.reading)

    def sizes_of(self, files: Iterable[Path]) -> dict[Path, tuple[int, int]]:
        """Return the annotated (height, width) of those files that are images of this data set.

        The other split is read only where the first does not contain all of them, and may be missing.
        """
        root = self.root.resolve()
        places = {file.parent.resolve() / file.name: file for file in files}
        places = {place: file for place, file in places.items() if place.is_relative_to(root)}
        names = {place.name for place in places}
        found: dict[Path, tuple[int, int]] = {}
        for split in ("val", "train"):
            if len(found) == len(places):
                break
            with contextlib.suppress(UserError):
                for entry in self.read_split(split).entries:
                    own = self.image_path(split, entry)
                    if own.name in names and (file := places.get(own.parent.resolve() / own.name)):
                        found[file] = entry.size
        return found

    def _pixel_settings(self) -> list[Any]:
        """Return the settings that change pixels, for `digest`; empty for the defaults."""
        return [] if self.reading == Reading() else [self.orientation, self.white]

    def check_categories(self, split: str) -> None:
        """Raise UserError where a split's categories are not those of the held-out one."""
        found = self.read_split(split)
        names = list(found.class_names)
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UserError(f"{self.folder}: two categories with objects have the name {twice!r}; allowed is one")
        if (found.category_ids, names) != (self.file_category_ids, list(self.class_names)):
            raise UserError(self._other_categories(dict(zip(found.category_ids, names, strict=True))))

    def annotations(self, split: str) -> Annotations:
        """Return a split's annotations. Raises UserError for boxes outside their images."""
        found = self.read_split(split)
        if found.misread:
            raise UserError(f"{self._format} {self.folder}, {self.split_name(split)}: {found.misread}")
        if found.outside and not self.cut_boxes:
            more = len(found.outside) - 1
            others = f" (and {more} more of {self.split_name(split)})" if more else ""
            raise UserError(
                f"{found.outside[0]}{others}; allowed is up to {MOST_OUTSIDE:g} pixel outside, or any with cut_boxes=True"
            )
        return found

    def _other_categories(self, categories: dict[int, str]) -> str:
        held_out = dict(zip(self.file_category_ids, self.class_names, strict=True))
        alone = [
            [id_ for id_ in one if id_ not in other] for one, other in ((categories, held_out), (held_out, categories))
        ]
        if any(alone):
            parts = [
                f"only {name} has the category ids {_listed(ids)}"
                for name, ids in zip((self.train, self.val), alone, strict=True)
                if ids
            ]
            return f"{self.folder}: {', '.join(parts)}; allowed are the same categories in both splits"
        id_ = next(id_ for id_, name in categories.items() if name != held_out[id_])
        return (
            f"{self.train} calls category {id_} {categories[id_]!r}, but {self.val} calls it {held_out[id_]!r}; "
            "allowed are equal names"
        )


def _listed(ids: list[int]) -> str:
    return ", ".join(map(str, ids[:5])) + (f", ... ({len(ids)} in all)" if len(ids) > 5 else "")


@lru_cache(maxsize=4)
def _whole(source: OnDisk, split: str, state: Hashable) -> Annotations:
    return source.read(split)


@lru_cache(maxsize=4)
def _changed(source: OnDisk, split: str, state: Hashable, left_out: frozenset[int]) -> Annotations:
    """Return a split without placeholder categories, and only its share of a divided split."""
    found = _whole(source, source.origin(split), state).without_categories(left_out)
    if not source.val_fraction:
        return found
    return found.part(_share(found, source.val_fraction, held_out=split == "val", name=source.folder))


def _share(found: Annotations, fraction: float, *, held_out: bool, name: str) -> list[int]:
    """Return the indices of a share of the images, selected by name; versions of one image stay together."""
    # Roboflow names versions of an image NAME.rf.HASH.jpg.
    groups = [name.split(".rf.")[0] for name in found.images.names]
    if len(set(groups)) < 2:
        raise UserError(f"{name} has a single image, so none can be held out; val_fraction needs two or more")
    order = sorted(set(groups), key=lambda group: hashlib.sha256(group.encode(errors="surrogatepass")).digest())
    chosen = set(order[: max(1, min(len(order) - 1, round(fraction * len(order))))])
    return [place for place, group in enumerate(groups) if (group in chosen) == held_out]
