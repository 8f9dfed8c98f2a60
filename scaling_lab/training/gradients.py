"""The gradient of a batch's loss, computed in one or several parts.

Shapes: B images of the batch or of a part, N places for objects in an image, A boxes of an image.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.data.batches import Batch
from scaling_lab.detection import make_references
from scaling_lab.detection.anchors import feature_sizes
from scaling_lab.training import group
from scaling_lab.training.objectives import OBJECTIVES, Objective
from scaling_lab.training.precision import autocast
from scaling_lab.training.recipe import Recipe

# Maps the inputs of a part of a batch to class logits and box deltas.
Forward = Callable[[tuple[Tensor, ...]], tuple[list[Tensor], list[Tensor]]]


def add_gradients(
    forward: Forward,
    batch: Batch,
    spec: DetectorSpec,
    recipe: Recipe,
    *,
    parts: int = 1,
    scaler: torch.amp.GradScaler,
    backward: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Tensor:
    """Add the gradient of a batch's loss, times the scaler's factor, to the weights' gradients.

    Return the loss and its two terms with their weights, classes and boxes, float64 (3,) on the device.

    The images pass through the network in `parts` of nearly equal size. The loss is divided by a count of the whole
    batch (objectives.py), so only batch norms depend on the parts. In a group of workers, `batch` is this worker's share
    and the loss that of all workers; the gradients are still to be summed. Each backward pass runs within a context of
    `backward`.
    """
    device = batch.boxes_BN4.device
    memory_format = torch.channels_last if recipe.channels_last else torch.contiguous_format
    inputs = list(zip(*(each.tensor_split(parts) for each in batch.inputs), strict=True))
    boxes, labels = batch.boxes_BN4.tensor_split(parts), batch.labels_BN.tensor_split(parts)
    objective: Objective | None = None
    sums_3 = torch.zeros(3, dtype=torch.float64, device=device)
    for place, own in enumerate(inputs):
        with autocast(recipe.precision, device):
            class_logits, box_deltas = forward(tuple(each.contiguous(memory_format=memory_format) for each in own))
        if objective is None:  # for all parts first, since each part's loss is divided by the count of all
            sizes = feature_sizes(box_deltas)
            references_A4 = make_references(spec, batch.image_size, sizes, device)
            objective = OBJECTIVES[spec.head](sizes, references_A4, boxes, labels, recipe)
        terms = objective.loss(place, class_logits, box_deltas)
        sums_3 += torch.stack([terms.total.detach(), terms.classes, terms.boxes]).double()
        with backward():
            scaler.scale(terms.total).backward()  # type: ignore[no-untyped-call]
    return group.summed(sums_3)
