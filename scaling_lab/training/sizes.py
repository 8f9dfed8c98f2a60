"""The file sizes of one training run, computed from the shapes of its tensors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.model import build
from scaling_lab.training.freezing import freeze
from scaling_lab.training.recipe import Recipe

# What torch.save adds to a tensor's bytes: alignment to 64 bytes and a header of about 54, and entries in the archive's
# directory and the pickle, with its name and its module's. Measured on EfficientDet-D0 and on the demonstration's detector,
# which has 274 tensors of 3 kB.
_ALIGNED, _HEADER, _ENTRY, _NAMES = 64, 54, 210, 100
# Random states and metrics with class APs in a checkpoint; the spec and class names in the weights.
_REST, _SPEC = 10_000, 3_000


@dataclass(frozen=True, kw_only=True)
class FileSizes:
    """Bytes of checkpoint.pt, rewritten every epoch, and of weights.pt and best.pt, the last and the best epoch's."""

    checkpoint: int
    weights: int

    @property
    def trial(self) -> int:
        """The total of a trial; its other files are small."""
        return self.checkpoint + 2 * self.weights


def file_sizes(spec: DetectorSpec, recipe: Recipe) -> FileSizes:
    """Return the file sizes of a training run, from a detector without allocated memory.

    A checkpoint has the weights, their average, and the optimizer's state of each trained weight.
    """
    with torch.device("meta"):
        detector = build(spec)
    freeze(detector, recipe.freeze)
    state = detector.state_dict()
    weights = _saved(state.values()) + _NAMES * len(state)
    trained = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    if recipe.optimizer == "adamw":  # two moments and a scalar step count
        kept = 2 * _saved(trained) + _saved(torch.empty(1, device="meta") for _ in trained)
    else:
        kept = _saved(trained) if recipe.momentum else 0
    return FileSizes(checkpoint=2 * weights + kept + _REST, weights=weights + _SPEC)


def feature_bytes(spec: DetectorSpec, recipe: Recipe, *, train_images: int, val_images: int) -> int:
    """Return the bytes of the stored features of a recipe with views, from a backbone without allocated memory."""
    if not recipe.views:
        return 0
    with torch.device("meta"):
        levels = build(spec).backbone(torch.zeros(1, 3, *spec.image_size))
    values = sum(int(level.numel()) for level in levels)
    return values * (2 * recipe.views * train_images + 4 * val_images)


def _saved(tensors: Iterable[Tensor]) -> int:
    return sum(_saved_bytes(tensor.numel() * tensor.element_size()) for tensor in tensors)


def _saved_bytes(size: int) -> int:
    return -(-(size + _HEADER) // _ALIGNED) * _ALIGNED + _ENTRY
