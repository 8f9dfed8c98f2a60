"""Coco, a data set in COCO's layout on disk: where its files are. It imports no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from scaling_lab.data.annotations import read_annotations
from scaling_lab.data.entries import Annotations, Entry
from scaling_lab.data.on_disk import OnDisk
from scaling_lab.errors import UserError

PREFIX = "instances_"


@dataclass(frozen=True, kw_only=True)
class Coco(OnDisk):
    """FOLDER/annotations/instances_SPLIT.json and FOLDER/SPLIT/ with the images, for the two splits named here."""

    kind: ClassVar[str] = "coco"
    _format: ClassVar[str] = "COCO-format set"
    _annotations_folder: ClassVar[str] = "annotations"

    train: str = "train2017"
    val: str = "val2017"

    def digest(self) -> str:
        """Hash the names of the splits, the settings that change pixels and the bytes of both annotation files."""
        digest = hashlib.sha256(json.dumps([self.train, self.val, *self._pixel_settings()]).encode())
        for split in ("train", "val"):
            digest.update(_digest(*self._stamped(split)))
        return digest.hexdigest()

    def annotation_file(self, split: str) -> Path:
        """Name the file that holds a split's annotations."""
        return self.root / self._annotations_folder / f"{PREFIX}{getattr(self, split)}.json"

    def image_path(self, split: str, entry: Entry) -> Path:
        """Name the file of one image."""
        return Path(self.root, getattr(self, split), entry.file_name)

    def read_split(self, split: str) -> Annotations:
        """Read and check a split's annotation file, once in a process, and again where it has changed."""
        return read_annotations(*self._stamped(split))

    def _stamped(self, split: str) -> tuple[Path, tuple[int, int]]:
        path = self.annotation_file(split)
        if not path.is_file():
            allowed = "a folder in COCO's layout, or the names of its splits as train and val"
            found = ", ".join(splits(self.root))
            raise UserError(f"{path} does not exist; allowed is {allowed}{f' (there are {found})' if found else ''}")
        status = path.stat()
        return path, (status.st_mtime_ns, status.st_size)


def splits(root: Path) -> list[str]:
    """Give the names of the splits that have a file of annotations."""
    return sorted(path.stem.removeprefix(PREFIX) for path in (root / "annotations").glob(f"{PREFIX}*.json"))


@lru_cache(maxsize=4)
def _digest(path: Path, stamp: tuple[int, int]) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
