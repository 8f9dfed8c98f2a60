"""One pass over a split before its images are read: order and placement, from (source, seed, epoch, index) alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from scaling_lab.architecture.spec import Pixels
from scaling_lab.data.augmentation import Augmentation, Placement, augmented, letterbox
from scaling_lab.data.sources import Source
from scaling_lab.errors import UserError

# The streams of random numbers of one seed.
_ORDER, _PLACEMENT = 0, 1


@dataclass(frozen=True)
class Example:
    """One image's share of a batch, without its pixels."""

    image_id: int
    boxes: np.ndarray
    labels: np.ndarray
    placement: Placement


@dataclass(frozen=True)
class BatchPlan:
    """Which images one pass over a split has, in which order, and where each is placed; `len` is its number of batches.

    `skipped` fills while the batches are read, where the source's `skip_broken` allows it: what is wrong with each training
    image that was left out, by its file. The image that follows it in the split has taken its place.
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
    skipped: dict[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.split == "train" and len(self) == 0:
            images = self.source.length(self.split)
            raise UserError(f"batch_size is {self.batch_size}; allowed is up to {images}, the images to train on")

    def __len__(self) -> int:
        images = self.source.length(self.split)
        return images // self.batch_size if self.split == "train" else -(-images // self.batch_size)

    def indices(self) -> list[list[int]]:
        """The indices of the images of each batch."""
        order = np.arange(self.source.length(self.split))
        if self.split == "train":
            chance = np.random.Generator(np.random.PCG64(np.random.SeedSequence((self.seed, _ORDER, self.epoch))))
            # Not `permutation`, whose stream may change between numpy's versions.
            order = np.argsort(chance.random(len(order)), kind="stable")
        return [order[i * self.batch_size : (i + 1) * self.batch_size].tolist() for i in range(len(self))]

    def placement(self, index: int, original: tuple[int, int]) -> Placement:
        """Decide where one image lands: by its index and the epoch alone."""
        if self.split != "train" or self.augmentation is None:
            return letterbox(original, self.image_size)
        seed = (self.seed, _PLACEMENT, self.epoch, index)
        return augmented(original, self.image_size, self.augmentation, self.source.mirrors, seed)

    def example(
        self, index: int, image_id: int, original: tuple[int, int], boxes: np.ndarray, labels: np.ndarray
    ) -> Example:
        """Place one image with its boxes; those that a crop leaves too little of are dropped."""
        placement = self.placement(index, original)
        placed, kept = placement.boxes(boxes)
        return Example(image_id, placed[kept], labels[kept], placement)
