"""One pass over a split before its images are read: order and placement, from (source, seed, epoch, index) only."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from scaling_lab.architecture.spec import Pixels
from scaling_lab.data.augmentation import Augmentation, Placement, augmented, letterbox
from scaling_lab.data.sources import Source
from scaling_lab.errors import UserError

# The random streams of one seed.
_ORDER, _PLACEMENT, _VIEW_ORDER = 0, 1, 2


@dataclass(frozen=True)
class Example:
    """One image of a batch, without its pixels."""

    image_id: int
    boxes: np.ndarray
    labels: np.ndarray
    placement: Placement


@dataclass(frozen=True)
class BatchPlan:
    """The images of one pass over a split, their order and placement; `len` is the number of batches.

    With `views`, a training image has that many fixed placements, the same for every seed. Each epoch shows the next one, in
    an order that the seed decides. `view` shows one of them in every epoch.

    `first` is the number of the first batch of an interrupted training epoch: those before it are left out, and `len` counts
    the rest.

    `skipped` fills during reading, if the source's `skip_broken` is set: the error of each skipped training image, by its
    file. The next readable image of the split takes its place.
    """

    source: Source
    split: str
    image_size: tuple[int, int]
    batch_size: int
    seed: int
    epoch: int
    augmentation: Augmentation | None
    pixels: Pixels
    workers: int
    device: torch.device
    views: int = 0
    view: int | None = None
    first: int = 0
    skipped: dict[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.split == "train" and self._end == 0:
            images = self.source.length(self.split)
            raise UserError(
                f"batch_size is {self.batch_size}; allowed is up to {images}, the number of training images"
            )

    def __len__(self) -> int:
        return self._end - self.first

    @property
    def _end(self) -> int:
        """The number of batches of the whole pass."""
        images = self.source.length(self.split)
        return images // self.batch_size if self.split == "train" else -(-images // self.batch_size)

    def indices(self) -> list[list[int]]:
        """Return the image indices of each batch from `first` on."""
        order = np.arange(self.source.length(self.split))
        if self.split == "train":
            chance = np.random.Generator(np.random.PCG64(np.random.SeedSequence((self.seed, _ORDER, self.epoch))))
            # Not `permutation`, whose stream may change between versions of numpy.
            order = np.argsort(chance.random(len(order)), kind="stable")
        starts = range(self.first * self.batch_size, self._end * self.batch_size, self.batch_size)
        return [order[start : start + self.batch_size].tolist() for start in starts]

    def view_of(self, index: int) -> int:
        """Return which of an image's views this epoch shows."""
        if self.view is not None:
            return self.view
        chance = np.random.Generator(np.random.PCG64(np.random.SeedSequence((self.seed, _VIEW_ORDER, index))))
        return int(np.argsort(chance.random(self.views), kind="stable")[(self.epoch - 1) % self.views])

    def placement(self, index: int, original: tuple[int, int]) -> Placement:
        """Return the placement of one image, which depends on its index and the epoch."""
        if self.split != "train" or self.augmentation is None:
            return letterbox(original, self.image_size)
        seed: tuple[int, ...] = (self.seed, _PLACEMENT, self.epoch, index)
        if self.views:
            seed = (_PLACEMENT, self.view_of(index), index)
        return augmented(original, self.image_size, self.augmentation, self.source.mirrors, seed)

    def example(
        self, index: int, image_id: int, original: tuple[int, int], boxes: np.ndarray, labels: np.ndarray
    ) -> Example:
        """Place one image with its boxes; boxes that are mostly cropped are dropped."""
        placement = self.placement(index, original)
        placed, kept = placement.boxes(boxes)
        return Example(image_id, placed[kept], labels[kept], placement)
