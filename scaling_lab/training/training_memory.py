"""The GPU memory of a training run, counted on shapes before it starts.

Forward and backward pass run on torch's meta device. The values kept for the backward pass are 6.0 bytes for each of a D0's
or D3's activations in half precision, and 12 in float32: an output of a convolution is kept before its norm, after it, and
after the activation function. Workspaces of operators and the allocator's fragments are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.cost.activation_memory import Alive, Numbers, module_tensors
from scaling_lab.model import Detector, build
from scaling_lab.training.freezing import freeze, set_training
from scaling_lab.training.recipe import Recipe
from scaling_lab.training.recompute import recompute_backbone

_FLOAT, _HALF = 4, 2
# Values that the focal loss holds at once for each logit of a level, in float32 (detection/losses.py, _background).
_LOSS_VALUES = 6
# A batch norm needs more than one value a channel, and a coarse level may have one position.
_IMAGES = 2


@dataclass(frozen=True, kw_only=True)
class TrainingMemory:
    """Bytes of a training run on a GPU.

    `fixed` is for weights, their average, gradients and the optimizer's state. `image` is for each image in the network at
    once, `input` for each image of the batch.
    """

    fixed: int
    image: int
    input: int

    def of(self, part: int, batch: int) -> int:
        """Return the bytes of a batch of which `part` images are in the network at once."""
        return self.fixed + part * self.image + batch * self.input

    def most_images(self, size: float, batch: int) -> int:
        """Return the most images of a batch that `size` bytes hold in the network at once; 0 where none fits."""
        return max(0, min(batch, int((size - self.of(0, batch)) // self.image)))


def training_memory(spec: DetectorSpec, recipe: Recipe) -> TrainingMemory:
    """Return the memory of training the spec. Raises UserError where the recipe does not fit the backbone."""
    half = recipe.precision != "float32"
    options: dict[str, Any] = {"drop_path_rate": recipe.drop_path} if recipe.drop_path else {}
    with torch.device("meta"):
        detector = build(spec, **options)
    freeze(detector, recipe.freeze)
    if recipe.recompute_backbone:
        recompute_backbone(detector)
    weights = sum(tensor.numel() for tensor in module_tensors(detector))
    trained = sum(parameter.numel() for parameter in detector.parameters() if parameter.requires_grad)
    states = 2 if recipe.optimizer == "adamw" else int(recipe.momentum > 0)
    # Autocast keeps a copy of the weights in half precision.
    fixed = weights * (2 * _FLOAT + half * _HALF) + trained * (1 + states) * _FLOAT
    if half:
        detector.to(torch.bfloat16)
    set_training(detector, recipe.freeze)
    values = _FLOAT * 3 * spec.image_size[0] * spec.image_size[1]
    # The network's own copy of its images, in another layout, is one more.
    return TrainingMemory(fixed=fixed, image=_peak(detector) // _IMAGES + values, input=values)


def _peak(detector: Detector) -> int:
    """Return the peak bytes, besides weights, of a forward and backward pass and the loss between them."""
    dtype = next(detector.parameters()).dtype
    inputs = torch.empty(_IMAGES, 3, *detector.spec.image_size, dtype=dtype, device="meta")
    with Alive([*module_tensors(detector), inputs], Numbers()) as alive:
        class_logits, box_deltas = detector(inputs)
        loss = alive.now + _LOSS_VALUES * _FLOAT * max(logits.numel() for logits in class_logits)
        outputs = [*class_logits, *box_deltas]
        torch.autograd.backward(outputs, [torch.empty_like(each) for each in outputs])
    return int(max(loss, *alive.moments))
