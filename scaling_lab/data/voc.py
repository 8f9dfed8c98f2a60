"""Voc, a data set on disk in Pascal VOC's layout, and its classes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from scaling_lab.checks import check_items, check_text
from scaling_lab.data.entries import Annotations, Entry
from scaling_lab.data.on_disk import OnDisk
from scaling_lab.data.voc_xml import Stamp, digest_split, found_classes, image_folder, read_voc, split_file, split_names
from scaling_lab.errors import UserError

FOUND = "found"
# In the (alphabetical) order of the VOC2007 development kit.
VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


@dataclass(frozen=True, kw_only=True)
class Voc(OnDisk):
    """FOLDER/Annotations/*.xml, FOLDER/JPEGImages/ and FOLDER/ImageSets/Main/SPLIT.txt, such as VOCdevkit/VOC2007.

    Without a list of a split, the split is the folder of that name with XML files, next to their images or not. `classes`
    are VOC's 20, or other names, or "found" for those in the XML files of both splits in alphabetical order. Category ids
    count from 1. Boxes become COCO's, and difficult objects crowds; see voc_xml. The AP is COCO's, whose ap50 is closest to
    VOC's own. XML files are cached until files are added or removed.
    """

    kind: ClassVar[str] = "voc"
    layout: ClassVar[str] = "Annotations/ and ImageSets/Main/*.txt, or SPLIT/*.xml, as in VOC's layout"
    _format: ClassVar[str] = "Pascal VOC set"

    train: str = "train"
    val: str = "val"
    classes: tuple[str, ...] | str = VOC_CLASSES

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes == FOUND:
            return
        allowed = f"a list of names, each once, or {FOUND!r}"
        names = check_items("Voc: classes", self.classes, allowed)
        for name in names:
            check_text("Voc: a class", name, "a name")
        if not names or len(set(names)) < len(names):
            raise UserError(f"Voc: classes is {list(names)}; allowed is {allowed}")
        object.__setattr__(self, "classes", names)

    @classmethod
    def splits_in(cls, root: Path) -> list[str]:
        """Return the names of the splits that have a list or a folder of XML files."""
        return split_names(root)

    @classmethod
    def fields_for(cls, root: Path, train: str, val: str) -> dict[str, Any]:
        """Return `classes` "found" where the files have other classes than VOC's."""
        source = cls(folder=str(root), train=train, val=val, classes=FOUND)
        try:
            names = source._class_names()
        except UserError:  # raised again when the data set is read
            return {}
        return {} if set(names) <= set(VOC_CLASSES) else {"classes": FOUND}

    def digest(self) -> str:
        """Return a hash of the names of splits and classes, the pixel settings, the lists and all XML files."""
        divided = [*([self.val_fraction] if self.val_fraction else []), *self._pixel_settings()]
        digest = hashlib.sha256(json.dumps([self.train, self.val, self.classes, *divided]).encode())
        for split in self.origins:
            digest.update(digest_split(self.root, getattr(self, split), self._stamp(split)))
        return digest.hexdigest()

    def image_path(self, split: str, entry: Entry) -> Path:
        """Return the path of an image."""
        origin = self.origin(split)
        return image_folder(self.root, getattr(self, origin), self._stamp(origin)) / entry.file_name

    def read(self, split: str) -> Annotations:
        """Read and check a split's XML files."""
        return read_voc(self.root, getattr(self, split), self._stamp(split), self._class_names())

    def state(self, split: str) -> Hashable:
        """Return the modification times of the list and the folders."""
        return self._stamp(split)

    def _detail(self) -> str:
        return "" if self.classes == VOC_CLASSES else " (its own classes)"

    def _class_names(self) -> tuple[str, ...]:
        if isinstance(self.classes, tuple):
            return self.classes
        return found_classes(self.root, [(getattr(self, split), self._stamp(split)) for split in self.origins])

    def _stamp(self, split: str) -> Stamp:
        """Return the modification times of the list and the folders, since checking every file takes too long."""
        root = self.root
        path = split_file(root, getattr(self, split))
        if not path.exists():
            allowed = "a folder in VOC's layout (VOCdevkit/VOC2007), or the names of its splits as train and val"
            found = ", ".join(split_names(root))
            raise UserError(f"{path} does not exist; allowed is {allowed}{f' (there are {found})' if found else ''}")
        folders = [folder for folder in (root / "Annotations", root / "JPEGImages") if folder.is_dir()]
        return tuple(each.stat().st_mtime_ns for each in (path, *folders))
