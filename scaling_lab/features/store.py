"""The folder of stored features: one subfolder a key, bounded in size, the least recently used removed first.

A subfolder `<root>/<digest of the key>` holds key.json, a file of raw values for each level (rows of h, w, C), and images.raw:
the index of the image read for each index, which differs where an image is broken. skipped.json has the errors of broken
images. complete.json, written last, has shapes, type and rows. `<digest>.lock` is held while the subfolder is written.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scaling_lab.data.transfer import to_device
from scaling_lab.errors import UserError
from scaling_lab.files import make_folder, read_json

COMPLETE, SKIPPED, IMAGES = "complete.json", "skipped.json", "images.raw"
# Seconds between two looks at a lock that another process holds.
_PAUSE = 0.2


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The form of a split's features: `shapes` are each level's (h, w, C), rows are images times views."""

    shapes: tuple[tuple[int, int, int], ...]
    dtype: str
    images: int
    views: int

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.images * self.views

    @property
    def row_bytes(self) -> tuple[int, ...]:
        """The bytes of a row of each level."""
        return tuple(int(np.prod(shape)) * np.dtype(self.dtype).itemsize for shape in self.shapes)

    @property
    def bytes(self) -> int:
        """The bytes of all features."""
        return self.rows * sum(self.row_bytes)


class Features:
    """The stored features of one split, memory-mapped."""

    def __init__(self, folder: Path) -> None:
        written = read_json(folder / COMPLETE)
        shapes = tuple((int(h), int(w), int(c)) for h, w, c in written["shapes"])
        self.layout = Layout(shapes=shapes, dtype=written["dtype"], images=written["images"], views=written["views"])
        self.folder = folder
        self.skipped: dict[str, str] = read_json(folder / SKIPPED)
        self._levels = [
            np.memmap(level_path(folder, place), dtype=self.layout.dtype, mode="r", shape=(self.layout.rows, *shape))
            for place, shape in enumerate(shapes)
        ]
        self._images = np.fromfile(folder / IMAGES, dtype=np.int32)
        os.utime(folder / COMPLETE)

    def image(self, index: int) -> int:
        """Return the index of the image that was read for an index: another one where that is broken."""
        return int(self._images[index])

    def read(self, rows: Sequence[int], device: torch.device) -> tuple[Tensor, ...]:
        """Return each level's features of rows, float32 (B, C, h, w) in channels-last memory."""
        found = []
        for level in self._levels:
            values = torch.from_numpy(np.take(level, rows, axis=0))
            found.append(to_device(values, device).to(torch.float32).permute(0, 3, 1, 2))
        return tuple(found)


def level_path(folder: Path, place: int) -> Path:
    """Return the file of a level's features, the finest at place 0."""
    return folder / f"{place}.raw"


def is_complete(folder: Path) -> bool:
    """Return whether a subfolder has all of its features."""
    return (folder / COMPLETE).is_file()


@contextmanager
def locked(path: Path, *, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold a lock file, which ends with its process; call `waiting` once if another process has it."""
    make_folder(path.parent)
    with path.open("wb") as file:
        is_first = True
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if is_first:
                    waiting()
                is_first = False
                time.sleep(_PAUSE)
        yield


def make_room(root: Path, whole: int, needed: int, limit: int, *, keep: Path) -> list[str]:
    """Remove the least recently used subfolders until `needed` more bytes fit within `limit`; return their names.

    `keep`, and those that other processes write, stay. Raises UserError where `whole` bytes exceed the limit alone.
    """
    if whole > limit:
        raise UserError(
            f"the features need {gigabytes(whole)}, but {root} may hold {gigabytes(limit)}; allowed are fewer views, smaller "
            "images, or a higher limit"
        )
    removed = []
    sizes = {path: folder_bytes(path) for path in root.iterdir() if path.is_dir()}
    for path in sorted(sizes.keys() - {keep}, key=_last_use):
        if needed + sum(sizes.values()) <= limit:
            break
        if _remove(path):
            removed.append(path.name)
            del sizes[path]
    return removed


def _remove(folder: Path) -> bool:
    """Remove a subfolder unless it is being written; readers keep what they have mapped."""
    with folder.with_suffix(".lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        with contextlib.suppress(FileNotFoundError):
            (folder / COMPLETE).unlink()  # first, so that a half-removed folder is not taken for complete
        shutil.rmtree(folder, ignore_errors=True)
    return True


def _last_use(folder: Path) -> float:
    for path in (folder / COMPLETE, folder):
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def folder_bytes(folder: Path) -> int:
    """Return the bytes of a folder's files."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


def gigabytes(count: int) -> str:
    """Write bytes in GB."""
    return f"{count / 1e9:.3g} GB"


def complete_text(layout: Layout) -> str:
    """Return the content of complete.json."""
    values: dict[str, Any] = {
        "shapes": [list(shape) for shape in layout.shapes],
        "dtype": layout.dtype,
        "images": layout.images,
        "views": layout.views,
    }
    return json.dumps(values)
