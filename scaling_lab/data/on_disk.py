"""What Coco, Voc and Yolo have in common: the settings and readings of a set of images on disk. It knows no file format."""

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
from scaling_lab.data.entries import MOST_OUTSIDE, Annotations, Entry
from scaling_lab.data.images import BrokenImage, Look, Picture, Reading
from scaling_lab.errors import UserError, printable

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, kw_only=True)
class OnDisk(Fields, ABC):
    """A folder with images and annotations for two splits, `train` to train on and `val` held out.

    `skip_broken`: a training image that is missing or broken is left out, another takes its place in the batch, and it is
    counted; held-out images are never skipped, for the AP is of all of them. `cut_boxes`: a box that reaches out of its image
    by more than a pixel is cut off at the edge in training (the ground truth for the AP stays the file's), where without
    it such a box is an error. `val_fraction`: where a set has one split alone, this share of the images of `train` is held out,
    chosen by their names, and `val` stands for no split of its own. `orientation` and `white` say how image files become
    pixels: see `Reading`.

    Nothing is read before it is asked for, so that a study can be loaded where its data are not. Every reading property
    and method raises UserError with the file, the thing and what is allowed.
    """

    kind: ClassVar[str]
    # What a folder holds that is in this format, for a message.
    layout: ClassVar[str]
    _format: ClassVar[str]
    # Left and right alone: photographs have an up.
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

    # --- what a format says of itself

    @classmethod
    @abstractmethod
    def splits_in(cls, root: Path) -> list[str]:
        """Give the names of the splits that a folder holds in this format; none where it is in another."""

    @classmethod
    def fields_for(cls, root: Path, train: str, val: str) -> dict[str, Any]:
        """Give fields beyond the splits' names that a folder with these needs."""
        return {}

    @abstractmethod
    def read(self, split: str) -> Annotations:
        """Read and check the annotations of "train" or "val" from the files."""

    @abstractmethod
    def state(self, split: str) -> Hashable:
        """Give what changes when a split's files do: they are then read again."""

    @abstractmethod
    def image_path(self, split: str, entry: Entry) -> Path:
        """Name the file of one image."""

    @abstractmethod
    def digest(self) -> str:
        """Hash the settings and the bytes of all annotation files."""

    def hint(self, split: str, entry: Entry) -> str:
        """Say which file might be meant where an image's is missing."""
        return ""

    def image_remarks(self, split: str) -> tuple[str, ...]:
        """Say which names of images were read otherwise than they stand."""
        return ()

    # --- what follows from it

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of `category_ids`."""
        return tuple(category["name"] for category in self.read_split("val").ground_truth["categories"])

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The ids of the categories in `ground_truth`, our own, 1, 2, …: class index i of a network is id i + 1."""
        return tuple(range(1, len(self.file_category_ids) + 1))

    @property
    def file_category_ids(self) -> tuple[int, ...]:
        """The ids that the categories have in the files, in rising order, which is that of the classes."""
        # The held-out split is the smaller one; `entries` checks that the other agrees.
        return self.read_split("val").category_ids

    def file_image_id(self, split: str, image_id: int) -> int:
        """Give the id that an image has in its file."""
        return self.read_split(split).image_ids[image_id - 1]

    @property
    def reading(self) -> Reading:
        """How the image files are read."""
        return Reading(orientation=self.orientation, white=self.white)

    @property
    def root(self) -> Path:
        """The folder as a path. Raises UserError where there is none."""
        root = Path(os.path.expanduser(self.folder))
        if not root.is_dir():
            raise UserError(f"the folder {self.folder} does not exist; allowed is one with {self.layout}")
        return root

    def to_dict(self) -> dict[str, Any]:
        """Give the plain values from which `source_from_dict` makes it again."""
        return {"kind": self.kind, **asdict(self)}

    def describe(self) -> str:
        """Say in one line what it is."""
        train, val = (
            f"{len(self.read_split(split).entries)} images of {self.split_name(split)}" for split in ("train", "val")
        )
        counts = f"{train} and {val.replace(' images', '', 1)}, {len(self.category_ids)} classes"
        return f"{self._format} {self.folder}{self._detail()}: {counts}"

    def _detail(self) -> str:
        """Give the files that were found, in brackets, where a reader could not guess them."""
        return ""

    def remarks(self) -> list[str]:
        """Say what was accepted though it is unusual, a line each."""
        found = {split: [*self.read_split(split).remarks, *self.image_remarks(split)] for split in ("train", "val")}
        if found["train"] == found["val"]:
            return found["train"]
        return [f"{self.split_name(split)}: {line}" for split, lines in found.items() for line in lines]

    def split_name(self, split: str) -> str:
        """Name a split as the files do; where a part of one is held out, say so."""
        if not self.val_fraction:
            return str(getattr(self, split))
        return f"{self.train} (held out)" if split == "val" else self.train

    @property
    def origins(self) -> tuple[str, ...]:
        """The splits that have files of their own."""
        return ("train",) if self.val_fraction else ("train", "val")

    def origin(self, split: str) -> str:
        """Give the split, "train" or "val", whose files hold this one."""
        return "train" if self.val_fraction else split

    def read_split(self, split: str) -> Annotations:
        """Read and check a split's annotations, once in a process, and again where files have changed."""
        origin = self.origin(split)
        state = self.state(origin)
        found = _whole(self, origin, state)
        unused = found.placeholders
        if unused:  # in the other split too
            unused = unused.intersection(*(_whole(self, each, self.state(each)).placeholders for each in self.origins))
        return _changed(self, split, state, unused) if unused or self.val_fraction else found

    def length(self, split: str) -> int:
        """Count the images of a split, those without an object too."""
        return len(self.entries(split))

    def ground_truth(self, split: str) -> dict[str, Any]:
        """The images, annotations (crowds too) and categories in COCO's form, with `area` and `iscrowd` always there."""
        return self._checked(split).ground_truth

    def entries(self, split: str) -> list[Entry]:
        """The images of a split, with the boxes to train on."""
        found = self._checked(split)
        self.check_categories(split)
        return found.entries

    def samples(self, count: int) -> list[tuple[int, np.ndarray]]:
        """Read the first `count` held-out images that show an object, as (image id, RGB uint8 of height, width, 3)."""
        entries = [entry for entry in self.entries("val") if len(entry.labels)][:count]
        return [(entry.image_id, np.array(self.image("val", entry))) for entry in entries]

    def check_images(self, *splits: str) -> None:
        """Raise UserError where a file is not there, or a held-out image is cut short: hours of training should not end so.

        What `skip_broken` allows to be missing is not looked for. Of held-out images whose end is there the header alone
        is read.
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
        """Read one image as RGB; its size must be the annotations'. Raises BrokenImage where there is no whole image."""
        return self.picture(split, entry).image

    def picture(self, split: str, entry: Entry) -> Picture:
        """Read one image as `image` does, with how it was turned."""
        try:
            return read_image(self.image_path(split, entry), entry, self.reading)
        except BrokenImage as error:
            hint = self.hint(split, entry)
            raise type(error)(printable(f"{error}; {hint}" if hint else str(error))) from error

    def look(self, split: str, entry: Entry) -> Look:
        """Read one image's header. Raises as `image` does, as far as the header shows it."""
        return look_at(self.image_path(split, entry), entry, self.reading)

    def sizes_of(self, files: Iterable[Path]) -> dict[Path, tuple[int, int]]:
        """Give (height, width) by the annotations for those of the files that are images of this set.

        The other split is read only where the first does not name all of them, and need not be there.
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
        """Give what of the settings changes the pixels, for `digest`; nothing where all is as usual."""
        return [] if self.reading == Reading() else [self.orientation, self.white]

    def check_categories(self, split: str) -> None:
        """Raise UserError where a split's categories are not those of the held-out one."""
        found = self.read_split(split)
        names = [category["name"] for category in found.ground_truth["categories"]]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UserError(
                f"{self.folder}: two categories have the name {twice!r}, and both have objects; allowed is one"
            )
        if (found.category_ids, names) != (self.file_category_ids, list(self.class_names)):
            raise UserError(self._other_categories(dict(zip(found.category_ids, names, strict=True))))

    def _checked(self, split: str) -> Annotations:
        found = self.read_split(split)
        if found.misread:
            raise UserError(f"{self._format} {self.folder}, {self.split_name(split)}: {found.misread}")
        if found.outside and not self.cut_boxes:
            more = len(found.outside) - 1
            others = f" (and {more} more of {self.split_name(split)})" if more else ""
            raise UserError(
                f"{found.outside[0]}{others}; allowed is up to {MOST_OUTSIDE:g} pixel outside, or cut_boxes=True to cut boxes off"
            )
        return found

    def _other_categories(self, categories: dict[int, str]) -> str:
        held_out = dict(zip(self.file_category_ids, self.class_names, strict=True))
        alone = [
            [id_ for id_ in one if id_ not in other] for one, other in ((categories, held_out), (held_out, categories))
        ]
        if any(alone):
            parts = [
                f"{name} alone has the category ids {_listed(ids)}"
                for name, ids in zip((self.train, self.val), alone, strict=True)
                if ids
            ]
            return f"{self.folder}: {', '.join(parts)}; both splits must have the same categories"
        id_ = next(id_ for id_, name in categories.items() if name != held_out[id_])
        return (
            f"{self.train} calls category {id_} {categories[id_]!r}, {self.val} calls it {held_out[id_]!r}; "
            "both must say the same"
        )


def _listed(ids: list[int]) -> str:
    return ", ".join(map(str, ids[:5])) + (f", ... ({len(ids)} in all)" if len(ids) > 5 else "")


@lru_cache(maxsize=4)
def _whole(source: OnDisk, split: str, state: Hashable) -> Annotations:
    return source.read(split)


@lru_cache(maxsize=4)
def _changed(source: OnDisk, split: str, state: Hashable, left_out: frozenset[int]) -> Annotations:
    """Give a split without the categories that are none, and its share alone where one split is divided."""
    found = _whole(source, source.origin(split), state).without_categories(left_out)
    if not source.val_fraction:
        return found
    return found.part(_share(found, source.val_fraction, held_out=split == "val", name=source.folder))


def _share(found: Annotations, fraction: float, *, held_out: bool, name: str) -> list[int]:
    """Give the places of a share of the images, which depends on their names alone; versions of one image stay together."""
    # Roboflow writes the versions of one image as NAME.rf.HASH.jpg.
    groups = [entry.file_name.split(".rf.")[0] for entry in found.entries]
    if len(set(groups)) < 2:
        raise UserError(f"{name} has one image alone, of which nothing can be held out; val_fraction needs two or more")
    order = sorted(set(groups), key=lambda group: hashlib.sha256(group.encode(errors="surrogatepass")).digest())
    chosen = set(order[: max(1, min(len(order) - 1, round(fraction * len(order))))])
    return [place for place, group in enumerate(groups) if (group in chosen) == held_out]
