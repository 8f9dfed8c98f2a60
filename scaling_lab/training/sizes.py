"""How large the files of one training run become, told from the shapes of its tensors. It trains and writes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.model import build
from scaling_lab.training.freezing import freeze
from scaling_lab.training.recipe import Recipe

# What torch.save adds to a tensor's own bytes: they begin and end at multiples of 64 after a header of about 54; the
# archive's directory and the pickle have an entry for each, in a state dict with its name and its module's. Measured on
# EfficientDet-D0 and on the demonstration's detector, which has 274 tensors of 3 kB.
_ALIGNED, _HEADER, _ENTRY, _NAMES = 64, 54, 210, 100
# The states of the random generators and the metrics with an AP for each class; the spec and the classes' names.
_REST, _SPEC = 10_000, 3_000


@dataclass(frozen=True, kw_only=True)
class FileSizes:
    """Bytes of checkpoint.pt, which every epoch writes anew, and of weights.pt, which the last one adds."""

    checkpoint: int
    weights: int

    @property
    def trial(self) -> int:
        """All that a trial leaves; pictures' detections and texts are small beside it."""
        return self.checkpoint + self.weights


def file_sizes(spec: DetectorSpec, recipe: Recipe) -> FileSizes:
    """Say how large the files of a training become, from a detector that holds no memory.

    A checkpoint has the weights, their average, and what the optimizer keeps of each weight that is trained.
    """
    with torch.device("meta"):
        detector = build(spec)
    freeze(detector, recipe.freeze)
    state = detector.state_dict()
    weights = _saved(state.values()) + _NAMES * len(state)
    trained = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    if recipe.optimizer == "adamw":  # two moments, and a step count of one number
        kept = 2 * _saved(trained) + _saved(torch.empty(1, device="meta") for _ in trained)
    else:
        kept = _saved(trained) if recipe.momentum else 0
    return FileSizes(checkpoint=2 * weights + kept + _REST, weights=weights + _SPEC)


def _saved(tensors: Iterable[Tensor]) -> int:
    return sum(_saved_bytes(tensor.numel() * tensor.element_size()) for tensor in tensors)


def _saved_bytes(size: int) -> int:
    return -(-(size + _HEADER) // _ALIGNED) * _ALIGNED + _ENTRY
