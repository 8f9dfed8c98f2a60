"""Computes a split's features once: under a lock, with progress, from where an interrupted process stopped."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import nn

from scaling_lab.data.batches import Batch, Batches
from scaling_lab.errors import UserError
from scaling_lab.features.compute import CHUNK, frozen_features
from scaling_lab.features.key import FeatureKey
from scaling_lab.features.store import (
    COMPLETE,
    IMAGES,
    SKIPPED,
    Features,
    Layout,
    complete_text,
    gigabytes,
    is_complete,
    level_path,
    locked,
    make_room,
)
from scaling_lab.files import append, cannot, make_folder, read_json, write_whole
from scaling_lab.text import duration, plural

Say = Callable[[str], None]

# Training features are rounded to half precision; held-out ones are not, so that AP is that of the whole detector.
DTYPES = {"train": "float16", "val": "float32"}
# Seconds between two lines of progress.
SECONDS = 10.0
DEFAULT_GB = 20.0


@dataclass(frozen=True, kw_only=True)
class FeatureFolder:
    """Where features are stored, the most GB that the folder may hold, and the digest of the data, if known."""

    root: Path
    limit_gb: float = DEFAULT_GB
    data_digest: str | None = None


def stored_features(
    where: FeatureFolder, key: FeatureKey, backbone: nn.Module, loader: Batches, *, say: Say = lambda text: None
) -> Features:
    """Return a split's features, computed by `backbone` in inference mode unless they are stored.

    `loader` is a pass over the split, which names source, sizes, device and readers. Raises UserError for images that cannot
    be read, for features that half precision cannot hold, and where they exceed the folder's limit. Raises WriteError.
    """
    folder = where.root / key.digest
    if not is_complete(folder):

        def waiting() -> None:
            say(f"features: waiting for another process that computes them in {folder}")

        with locked(where.root / f"{key.digest}.lock", waiting=waiting):
            if not is_complete(folder):
                _build(where, folder, key, backbone, loader, say)
    return Features(folder)


def layout_of(backbone: nn.Module, loader: Batches) -> Layout:
    """Return the form of a split's features, from a pass of one empty image through the backbone."""
    height, width = loader.image_size
    was_training = backbone.training
    backbone.eval()
    with torch.inference_mode():
        found = backbone(torch.zeros(1, 3, height, width, device=loader.device))
    backbone.train(was_training)
    shapes = tuple((int(each.shape[2]), int(each.shape[3]), int(each.shape[1])) for each in found)
    is_train = loader.split == "train"
    images = loader.source.length(loader.split)
    return Layout(shapes=shapes, dtype=DTYPES[loader.split], images=images, views=loader.views if is_train else 1)


def _build(where: FeatureFolder, folder: Path, key: FeatureKey, backbone: nn.Module, loader: Batches, say: Say) -> None:
    layout = layout_of(backbone, loader)
    make_folder(folder)
    done = _written(folder, layout)
    needed = layout.bytes - done * sum(layout.row_bytes)
    for name in make_room(where.root, layout.bytes, needed, int(where.limit_gb * 1e9), keep=folder):
        say(f"features: removed {where.root / name}, the least recently used")
    write_whole(folder / "key.json", json.dumps(key.to_dict(), indent=1))
    found = f"features: {plural(layout.images, 'image')} in {plural(layout.views, 'view')}, {gigabytes(layout.bytes)} in {folder}"
    say(found + (f"; {done:,} of {layout.rows:,} are there" if done else ""))
    _cut(folder, layout, done)
    skipped: dict[str, str] = read_json(folder / SKIPPED) if done else {}
    progress = _Progress(layout.rows, done, say)
    for batch, errors in _chunks(loader, layout, done):
        levels = _rounded(backbone, batch, layout.dtype)
        if progress.done < layout.images:
            append(folder / IMAGES, (np.array(batch.image_ids, dtype=np.int32) - 1).tobytes())
        if errors.keys() - skipped.keys() or not progress.done:
            skipped |= errors
            write_whole(folder / SKIPPED, json.dumps(skipped))
        for place, values in enumerate(levels):
            append(level_path(folder, place), values.tobytes())
        progress.add(len(batch.image_ids))
    for path in sorted(folder.iterdir()):
        _to_disk(path)
    write_whole(folder / COMPLETE, complete_text(layout), lasting=True)


@dataclass(frozen=True)
class _InOrder(Batches):
    """A pass over a split in order, from an index on."""

    start: int = 0

    def indices(self) -> list[list[int]]:
        images = self.source.length(self.split)
        return [[*range(at, min(at + CHUNK, images))] for at in range(self.start, images, CHUNK)]

    @property
    def _end(self) -> int:
        return len(self.indices())


def _chunks(loader: Batches, layout: Layout, done: int) -> Iterator[tuple[Batch, dict[str, str]]]:
    """Yield the batches of all views, one view after the other, from a row on, and the errors of skipped images so far."""
    for view in range(done // layout.images, layout.views):
        start = done - view * layout.images if view == done // layout.images else 0
        settings = {each.name: getattr(loader, each.name) for each in fields(Batches) if each.name != "skipped"}
        one = _InOrder(**{**settings, "batch_size": CHUNK, "view": view, "first": 0}, start=start)
        for batch in one:
            yield batch, one.skipped


def _rounded(backbone: nn.Module, batch: Batch, dtype: str) -> list[np.ndarray]:
    """Return the features of a batch, a (B, h, w, C) for each level. Raises UserError where the type cannot hold them."""
    found = []
    for level_BCHW in frozen_features(backbone, batch.images_BCHW, getattr(torch, dtype)):
        level_BHWC = level_BCHW.permute(0, 2, 3, 1).contiguous()
        if not torch.isfinite(level_BHWC).all():
            raise UserError(
                f"features of images {', '.join(map(str, batch.image_ids))} are not finite in {dtype}; allowed is views=0, "
                "which stores none"
            )
        found.append(level_BHWC.cpu().numpy())
    return found


def _written(folder: Path, layout: Layout) -> int:
    """Return the number of rows that every file has, rounded down to a chunk of a view."""
    if not (folder / SKIPPED).is_file():
        return 0
    sizes = [_size(level_path(folder, place)) // row_bytes for place, row_bytes in enumerate(layout.row_bytes)]
    rows = min(*sizes, layout.rows)
    images = _size(folder / IMAGES) // np.dtype(np.int32).itemsize
    rows = rows if images >= layout.images else min(rows, images)
    view, index = divmod(rows, layout.images)
    return view * layout.images + index // CHUNK * CHUNK


def _cut(folder: Path, layout: Layout, done: int) -> None:
    """Cut the files to the first `done` rows."""
    images = min(done, layout.images) * np.dtype(np.int32).itemsize
    lengths = {level_path(folder, place): done * size for place, size in enumerate(layout.row_bytes)}
    for path, length in {**lengths, folder / IMAGES: images}.items():
        try:
            with path.open("ab") as file:
                file.truncate(length)
        except OSError as error:
            raise cannot(path, "written", error) from error


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


class _Progress:
    """Says how far it is and how long it will take, from time to time."""

    def __init__(self, rows: int, done: int, say: Say) -> None:
        self.done, self._rows, self._first, self._say = done, rows, done, say
        self._began = self._last = time.monotonic()

    def add(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self._last >= SECONDS and self.done < self._rows:
            self._last = now
            left = (self._rows - self.done) * (now - self._began) / (self.done - self._first)
            self._say(f"features: {self.done:,} of {self._rows:,}, {duration(left)} left")
