"""Yolo, a data set on disk in the YOLO format of Ultralytics, Roboflow, CVAT and Label Studio."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from scaling_lab.data.entries import Annotations, Entry, annotated
from scaling_lab.data.on_disk import OnDisk
from scaling_lab.data.yolo_config import Config, find_config, read_config
from scaling_lab.data.yolo_labels import Labelled, label_files, read_labelled
from scaling_lab.data.yolo_paths import image_files
from scaling_lab.errors import UserError
from scaling_lab.files import read_bytes


@dataclass(frozen=True, kw_only=True)
class Yolo(OnDisk):
    """A folder with data.yaml, or obj.data, or classes.txt, and a label file of fractions for each image.

    `train` and `val` are names of splits in `config`, the file with class names and image paths (found if not given).
    Polygons become their bounding boxes; an image without a label file has no objects. Category ids count from 0, as in
    the files. Image sizes are those of the upright images.
    """

    kind: ClassVar[str] = "yolo"
    layout: ClassVar[str] = "data.yaml, obj.data or classes.txt with labels, as YOLO's format has"
    _format: ClassVar[str] = "YOLO-format set"

    train: str = "train"
    val: str = "val"
    config: str = ""

    @classmethod
    def splits_in(cls, root: Path) -> list[str]:
        """Return the names of the splits in a folder's configuration, or in that file itself."""
        path = root if root.is_file() else find_config(root)
        return [] if path is None else list(read_config(path).splits)

    def digest(self) -> str:
        """Return a hash of the names of splits, classes and images, and the bytes of all label files."""
        names = [self.train, self.val_fraction or self.val, list(self._config().names), *self._pixel_settings()]
        digest = hashlib.sha256(json.dumps(names).encode())
        for split in self.origins:
            for image, label in label_files(self._images(split)).items():
                digest.update(image.name.encode(errors="surrogateescape"))
                digest.update(read_bytes(label) if label is not None else b"")
        return digest.hexdigest()

    def image_path(self, split: str, entry: Entry) -> Path:
        """Return the path of an image."""
        return self.root / entry.file_name

    def read(self, split: str) -> Annotations:
        """Read and check a split's label files, and the sizes of its images."""
        config = self._config()
        images = self._images(split)
        found = [read_labelled(image, label, config, self.reading) for image, label in label_files(images).items()]
        if not any(each.label for each in found):
            raise UserError(
                f"{self.folder}: no image of {getattr(self, split)} has a label file; expected is {_expected(images[0])}; "
                "labels are in labels/ instead of images/, or next to the images"
            )
        return _annotations(self.root, config, found)

    def state(self, split: str) -> Hashable:
        """Return the modification times of the configuration and of the folders with images and labels."""
        config = self._config_file()
        folders = _folders(self, split, config.stat().st_mtime_ns)
        return tuple(each.stat().st_mtime_ns for each in (config, *folders) if each.exists())

    def _detail(self) -> str:
        return f" ({self._config_file().relative_to(self.root)})"

    def _config_file(self) -> Path:
        root = self.root
        path = root / self.config if self.config else find_config(root)
        if path is None or not path.is_file():
            raise UserError(
                f"{self.folder if path is None else path} does not exist; allowed is a folder with {self.layout}"
            )
        return path

    def _config(self) -> Config:
        return read_config(self._config_file())

    def _images(self, split: str) -> list[Path]:
        config, name = self._config(), getattr(self, split)
        entries = config.splits.get(name, ())
        if not entries:
            there = ", ".join(each for each, named in config.splits.items() if named)
            raise UserError(f"{config.path} has no split {name!r}; allowed are {there or 'none: it names no split'}")
        return image_files(config, name)


@lru_cache(maxsize=8)
def _folders(source: Yolo, split: str, stamp: int) -> tuple[Path, ...]:
    """Return the folders of a split's images and labels."""
    images = source._images(split)
    labels = [label for label in label_files(images).values() if label is not None]
    return tuple(dict.fromkeys(path.parent for path in (*images, *labels)))


def _expected(image: Path) -> Path:
    return image.parent.parent / "labels" / f"{image.stem}.txt"


def _annotations(root: Path, config: Config, found: list[Labelled]) -> Annotations:
    """Convert the labels to COCO's form; ids count from 0, as in the files."""
    images, annotations, names = [], [], []
    for number, each in enumerate(found):
        width, height = each.size
        file_name = os.path.relpath(each.image, root)
        images.append({"id": number, "width": width, "height": height, "file_name": file_name})
        for box in each.boxes:
            record = {"bbox": box.bbox, "area": box.bbox[2] * box.bbox[3], "iscrowd": 0}
            annotations.append({"image_id": number, "category_id": box.label, **record})
            names.append(f"{each.label}, line {box.line}, class {config.names[box.label]}")
    categories = [{"id": number, "name": name} for number, name in enumerate(config.names)]
    without = sum(each.label is None for each in found)
    polygons = sum(box.from_points for each in found for box in each.boxes)
    remarks = [
        f"{count:,} {words}"
        for count, words in (
            (without, "images have no label file and count as empty"),
            (polygons, "boxes are bounding boxes of polygons"),
        )
        if count
    ]
    records = {"images": images, "annotations": annotations, "categories": categories}
    return annotated(records, names.__getitem__, remarks)
