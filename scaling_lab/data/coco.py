"""Coco, a data set on disk in COCO's format, and the layout of its files."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from scaling_lab.data.annotation_cache import digest_cached, read_cached
from scaling_lab.data.entries import Annotations, Entry
from scaling_lab.data.image_files import Found, find_images
from scaling_lab.data.on_disk import OnDisk
from scaling_lab.errors import UserError

# Paths of a split's file, in order of preference; SPLIT is its name, "*" the only file there.
FILES = ("annotations/instances_SPLIT.json", "annotations/SPLIT.json", "SPLIT/*.json", "SPLIT.json")
# Folders of its images; the one with most of them is used.
FOLDERS = ("SPLIT", "images/SPLIT", "SPLIT/images", "SPLIT/data", "images", "data", "JPEGImages", "")

Stamp = tuple[int, ...]

# Found files by folder and split; cached, since each image needs them.
_KNOWN: dict[tuple[Path, str], Path] = {}


@dataclass(frozen=True, kw_only=True)
class Coco(OnDisk):
    """A folder with one JSON file for each of the two splits, and their images.

    The files are where COCO has them, FOLDER/annotations/instances_SPLIT.json with images in FOLDER/SPLIT/, or where exports
    of Roboflow, CVAT, Label Studio and FiftyOne have them (see FILES and FOLDERS). A split may also be the path of its file
    in the folder, such as labels/mine.json, and `images` the folder of all images.
    """

    kind: ClassVar[str] = "coco"
    layout: ClassVar[str] = "annotations/instances_*.json, SPLIT/*.json or one *.json, as COCO's format has"
    _format: ClassVar[str] = "COCO-format set"

    train: str = "train2017"
    val: str = "val2017"
    images: str = ""

    @classmethod
    def splits_in(cls, root: Path) -> list[str]:
        """Return the names of the splits that have an annotation file."""
        return sorted(_files(root, _folder_state(root)))

    def digest(self) -> str:
        """Return a hash of split names, pixel settings and the bytes of both annotation files."""
        names = [self.train, self.val] if not self.val_fraction else [self.train, self.val_fraction]
        digest = hashlib.sha256(json.dumps([*names, *self._pixel_settings()]).encode())
        for split in ("train", "val"):
            digest.update(_digest(self.annotation_file(split), self.state(split)))
        return digest.hexdigest()

    def annotation_file(self, split: str) -> Path:
        """Return a split's annotation file. Raises UserError where there is none."""
        root, name = self.root, getattr(self, self.origin(split))
        path = _KNOWN.get((root, name)) or root / (name if name.endswith(".json") else FILES[0].replace("SPLIT", name))
        if path.is_file():
            return path
        files = _files(root, _folder_state(root))
        if name not in files:
            allowed = "a folder in COCO's layout, or the names of its splits as train and val"
            there = f" (there are {', '.join(sorted(files))})" if files else ""
            raise UserError(f"{path} does not exist; allowed is {allowed}{there}")
        return _KNOWN.setdefault((root, name), files[name])

    def image_path(self, split: str, entry: Entry) -> Path:
        """Return the path of an image."""
        return self._found(split).path(entry.file_name)

    def hint(self, split: str, entry: Entry) -> str:
        """Return a hint at the file that a missing image's name may mean."""
        return self._found(split).hints.get(entry.file_name, "")

    def image_remarks(self, split: str) -> tuple[str, ...]:
        """Return remarks on image names that were read with changes."""
        return self._found(split).remarks

    def read(self, split: str) -> Annotations:
        """Read and check a split's annotation file."""
        return read_cached(self.annotation_file(split))

    def state(self, split: str) -> Hashable:
        """Return the time and size of a split's file."""
        status = self.annotation_file(split).stat()
        return status.st_mtime_ns, status.st_size

    def image_folders(self, split: str) -> list[Path]:
        """Return the folders that may hold a split's images."""
        if self.images:
            return [self.root / self.images]
        file = self.annotation_file(split)
        name = Path(getattr(self, self.origin(split))).stem.removeprefix("instances_")
        named = [self.root / folder.replace("SPLIT", name) for folder in FOLDERS]
        return list(dict.fromkeys([*named, file.parent, file.parent / "images"]))

    def _detail(self) -> str:
        files = [self.annotation_file(split) for split in self.origins]
        if all(file.parent.name == "annotations" and file.name.startswith("instances_") for file in files):
            return ""
        return f" ({' and '.join(str(file.relative_to(self.root)) for file in files)})"

    def _found(self, split: str) -> Found:
        origin = self.origin(split)
        return _found(self, origin, self.state(origin))


@lru_cache(maxsize=4)
def _found(source: Coco, split: str, state: Hashable) -> Found:
    names = [
        name
        for each in ("train", "val")
        if source.origin(each) == split
        for name in source.read_split(each).images.names
    ]
    return find_images(source.image_folders(split), source.root, names)


@lru_cache(maxsize=8)
def _files(root: Path, state: Stamp) -> dict[str, Path]:
    """Return the splits' files, from the first of FILES with any file in COCO's format."""
    for pattern in FILES:
        before, after = pattern.split("SPLIT")
        found: dict[str, list[Path]] = {}
        for path in sorted(root.glob(pattern.replace("SPLIT", "*"))):
            name = path.relative_to(root).as_posix()
            split = Path(name).parent.name if "/" in after else name.removeprefix(before).removesuffix(after)
            if path.is_file() and (pattern == FILES[0] or _is_coco(path)):
                found.setdefault(split, []).append(path)
        single = {split: paths[0] for split, paths in found.items() if len(paths) == 1}
        if single:
            return single
    return {}


def _folder_state(root: Path) -> Stamp:
    """Return the modification times of the folder and its subfolders."""
    folders = [root, *(child for child in root.iterdir() if child.is_dir())]
    return tuple(folder.stat().st_mtime_ns for folder in folders)


def _is_coco(path: Path) -> bool:
    """Return whether a JSON file has COCO's three keys."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return all(content.find(key) >= 0 for key in (b'"images"', b'"annotations"', b'"categories"'))
    except (OSError, ValueError):  # empty or unreadable
        return False


@lru_cache(maxsize=4)
def _digest(path: Path, state: Hashable) -> bytes:
    return digest_cached(path)
