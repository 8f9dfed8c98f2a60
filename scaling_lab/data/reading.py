"""The batches of Coco: images read from disk and placed, in this process or in several. It draws nothing by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from scaling_lab.data.coco import Coco
from scaling_lab.errors import UserError

if TYPE_CHECKING:
    from scaling_lab.data.loading import Batches, Example

Read = tuple[Tensor, list["Example"]]


def read_batches(plan: Batches, source: Coco) -> Iterator[Read]:
    """Yield the pixels uint8 (B, 3, H, W) and the examples of each batch."""
    images = _Images(plan, source)
    if plan.workers == 0:
        for indices in plan.indices():
            yield images.read(indices)
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
        yield chunk


class _Images:
    def __init__(self, plan: Batches, source: Coco) -> None:
        self._plan, self._source = plan, source
        self._entries = source.entries(plan.split)

    def read(self, indices: list[int]) -> Read:
        """Read one batch."""
        examples = []
        pixels_BHWC = np.zeros((len(indices), *self._plan.image_size, 3), dtype=np.uint8)
        for b, index in enumerate(indices):
            entry = self._entries[index]
            example = self._plan.example(index, entry.image_id, entry.size, entry.boxes, entry.labels)
            height, width = example.placement.filled
            image = self._source.image(self._plan.split, entry)
            pixels_BHWC[b, :height, :width] = example.placement.pixels(image)
            examples.append(example)
        return torch.from_numpy(pixels_BHWC.transpose(0, 3, 1, 2)), examples


class _Chunks(Dataset[Read | str]):
    """One batch for a list of indices, or a message where it cannot be read: exceptions lose their class on the way."""

    def __init__(self, images: _Images) -> None:
        self._images = images

    def __getitem__(self, indices: list[int]) -> Read | str:
        try:
            return self._images.read(indices)
        except UserError as error:
            return str(error)
