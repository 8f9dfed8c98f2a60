"""Batches of data sets on disk: images are read and placed, in this process or in several."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from scaling_lab.data.batch_plan import BatchPlan, Example
from scaling_lab.data.entries import Entry
from scaling_lab.data.images import BrokenImage
from scaling_lab.data.on_disk import OnDisk
from scaling_lab.data.readers import kept_or_own
from scaling_lab.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

Read = tuple[Tensor, list["Example"]]
# The errors of skipped images, by file.
Skipped = dict[str, str]


def read_batches(plan: BatchPlan, source: OnDisk) -> Iterator[Read]:
    """Yield the pixels uint8 (B, 3, H, W) and the examples of each batch; record skipped images in `plan.skipped`.

    With workers, the pixels' memory is reused when the next batch is requested.
    """
    if not len(plan):  # an interrupted epoch had all of them
        return
    images = _Images(plan, source)
    shape = (images.most, *plan.image_size, 3)
    with ExitStack() as stack:
        read: Generator[tuple[np.ndarray, tuple[list[Example], Skipped]]]
        if plan.workers == 0:
            blank = ((number, np.empty(shape, dtype=np.uint8)) for number in range(len(plan)))
            read = ((pixels, images.read(number, pixels)) for number, pixels in blank)
        else:
            readers = stack.enter_context(kept_or_own())
            read = readers.read_ahead(source, _prepared, _work(plan), len(plan), shape=shape, workers=plan.workers)
        stack.enter_context(closing(read))
        for pixels_BHWC, (examples, skipped) in read:
            plan.skipped.update(skipped)
            pixels_BCHW = torch.from_numpy(pixels_BHWC[: len(examples)].transpose(0, 3, 1, 2))
            yield pixels_BCHW, examples


def _work(plan: BatchPlan) -> tuple[type[BatchPlan], dict[str, Any]]:
    """Return the plan without its source, which readers have."""
    rest = {field.name: getattr(plan, field.name) for field in dataclasses.fields(plan)}
    return type(plan), {name: value for name, value in rest.items() if name not in ("source", "skipped")}


def _prepared(source: OnDisk, work: tuple[type[BatchPlan], dict[str, Any]]) -> Callable[[int, np.ndarray], Any]:
    """Return what reads the batches of a plan, in a reader."""
    kind, rest = work
    return _Images(kind(source=source, **rest), source).read  # type: ignore[arg-type]


class _Images:
    def __init__(self, plan: BatchPlan, source: OnDisk) -> None:
        self._plan, self._source = plan, source
        self._entries = source.entries(plan.split)
        self._indices = plan.indices()
        self.most = max(map(len, self._indices), default=0)

    def read(self, number: int, pixels_BHWC: np.ndarray) -> tuple[list[Example], Skipped]:
        """Read one batch into memory for at least as many images. Return its examples and skipped images."""
        examples = []
        skipped: Skipped = {}
        pixels_BHWC[:] = 0
        for b, wanted in enumerate(self._indices[number]):
            index, entry, image = self._whole(wanted, skipped)
            example = self._plan.example(index, entry.image_id, entry.size, entry.boxes, entry.labels)
            height, width = example.placement.filled
            pixels_BHWC[b, :height, :width] = example.placement.pixels(image)
            examples.append(example)
        return examples, skipped

    def _whole(self, wanted: int, skipped: Skipped) -> tuple[int, Entry, Image.Image]:
        """Read an image, or the next readable one of the split where it is broken and may be skipped."""
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
                        f"{error} (skip_broken skips training images only; AP covers all held-out ones)"
                    ) from error
                skipped[str(self._source.image_path(self._plan.split, entry))] = str(error)
        raise UserError(
            f"none of the {len(self._entries)} training images can be read; the last error: {list(skipped.values())[-1]}"
        )
