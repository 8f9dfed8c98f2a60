"""The batches of Coco and Voc: images read from disk and placed, in this process or in several. It draws nothing by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from scaling_lab.data.entries import Entry
from scaling_lab.data.images import BrokenImage
from scaling_lab.data.on_disk import OnDisk
from scaling_lab.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

    from scaling_lab.data.loading import Batches, Example

Read = tuple[Tensor, list["Example"]]
# What is wrong with an image, by the path of its file.
Skipped = dict[str, str]


def read_batches(plan: Batches, source: OnDisk) -> Iterator[Read]:
    """Yield the pixels uint8 (B, 3, H, W) and the examples of each batch; note in `plan.skipped` what was left out."""
    images = _Images(plan, source)
    if plan.workers == 0:
        for indices in plan.indices():
            read, skipped = images.read(indices)
            plan.skipped.update(skipped)
            yield read
        return
    loader = DataLoader(
        _Chunks(images),
        batch_size=None,
        sampler=plan.indices(),
        num_workers=plan.workers,
        pin_memory=plan.device.type == "cuda",
        # Its own: the loader would else draw from torch's global stream, and training would depend on `workers`.
        generator=torch.Generator(),
    )
    for chunk in loader:
        if isinstance(chunk, str):
            raise UserError(chunk)
        read, skipped = chunk
        plan.skipped.update(skipped)
        yield read


class _Images:
    def __init__(self, plan: Batches, source: OnDisk) -> None:
        self._plan, self._source = plan, source
        self._entries = source.entries(plan.split)

    def read(self, indices: list[int]) -> tuple[Read, Skipped]:
        """Read one batch, and say what was left out of it."""
        examples = []
        skipped: Skipped = {}
        pixels_BHWC = np.zeros((len(indices), *self._plan.image_size, 3), dtype=np.uint8)
        for b, wanted in enumerate(indices):
            index, entry, image = self._whole(wanted, skipped)
            example = self._plan.example(index, entry.image_id, entry.size, entry.boxes, entry.labels)
            height, width = example.placement.filled
            pixels_BHWC[b, :height, :width] = example.placement.pixels(image)
            examples.append(example)
        return (torch.from_numpy(pixels_BHWC.transpose(0, 3, 1, 2)), examples), skipped

    def _whole(self, wanted: int, skipped: Skipped) -> tuple[int, Entry, Image.Image]:
        """Read an image; where it is broken and may be skipped, the next one of the split that is not."""
        for step in range(len(self._entries)):
            index = (wanted + step) % len(self._entries)
            entry = self._entries[index]
            try:
                return index, entry, self._source.image(self._plan.split, entry)
            except BrokenImage as error:
                if not self._source.skip_broken:
                    raise
                if self._plan.split != "train":
                    raise UserError(
                        f"{error} (skip_broken is for training images; the AP is of all held-out ones)"
                    ) from error
                skipped[str(self._source.image_path(self._plan.split, entry))] = str(error)
        raise UserError(
            f"none of the {len(self._entries)} training images can be read; the last: {list(skipped.values())[-1]}"
        )


class _Chunks(Dataset[tuple[Read, Skipped] | str]):
    """One batch for a list of indices, or a message where it cannot be read: exceptions lose their class on the way."""

    def __init__(self, images: _Images) -> None:
        self._images = images

    def __getitem__(self, indices: list[int]) -> tuple[Read, Skipped] | str:
        try:
            return self._images.read(indices)
        except UserError as error:
            return str(error)
