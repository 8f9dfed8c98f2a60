"""Gives a detector with random weights outputs that load suppression as a trained detector's do.

Suppression takes the 5,000 boxes of highest score. Its time depends on how they are spread over classes and how much they
overlap. With plain random weights a few output channels have all the highest scores, at every position of the image. So the
last convolution of each head is rescaled, which adds no operator to the network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scaling_lab.model.detector import Detector

SIDE = 256  # pixels of the image on which outputs are measured
PATCHES, NOISE = 8, 0.1  # patches along a side; standard deviation of the noise, that of patches being 1
SCORE, SPREAD = 0.005, 1.5  # median score; standard deviation of a channel's logits over positions
# COCO's images have objects of 3.5 classes on average (arXiv:1405.0312, section 5); their boxes have most high scores.
PRESENT, LIFT = 4, 4.0  # classes with objects; what is added to their logits
STEP = 0.1  # by which each anchor at a position scores less than the one before it
DELTA = 0.1  # standard deviation of box deltas, in anchor sizes
WORDS = (
    f"class logits have a standard deviation of {SPREAD:g} over positions and a median score of {SCORE:g}. {PRESENT} classes "
    f"score higher, as in an image of COCO, and boxes deviate from their anchors by {100 * DELTA:.0f} %. Of the 5,000 "
    "candidates of lite0, lite2, D0 and D1, 25 to 58 % remain"
)


@torch.no_grad()
def spread_outputs(detector: Detector) -> None:
    """Rescale the last convolutions of both heads, in place, for outputs of the spread in WORDS.

    A head of points keeps its distances, of which the mean is positive.
    """
    spec, was_training = detector.spec, detector.training
    detector.eval()
    _alike_over_anchors(_last(detector.class_head), spec.boxes_per_position)
    class_logits, box_deltas = detector(textured_images(1, SIDE, SIDE))
    detector.train(was_training)
    lifted = torch.zeros(spec.num_classes)
    lifted[torch.linspace(0, spec.num_classes - 1, min(PRESENT, spec.num_classes)).round().long()] = LIFT
    median = math.log(SCORE / (1.0 - SCORE))
    less = torch.arange(spec.boxes_per_position).repeat_interleave(spec.num_classes) * STEP
    means_C = median + lifted.repeat(spec.boxes_per_position) - less
    _rescale(detector.class_head, class_logits, mean_C=means_C, spread=SPREAD)
    if spec.head == "anchors":
        _rescale(detector.box_head, box_deltas, mean_C=torch.zeros(4 * spec.boxes_per_position), spread=DELTA)


def textured_images(batch: int, height: int, width: int) -> Tensor:
    """Return images (batch, 3, height, width) of smooth patches with noise, since real images vary smoothly."""
    generator = torch.Generator().manual_seed(1)
    patches = torch.randn(batch, 3, PATCHES, PATCHES, generator=generator)
    smooth = nn.functional.interpolate(patches, size=(height, width), mode="bilinear", align_corners=False)
    return smooth + NOISE * torch.randn(batch, 3, height, width, generator=generator)


def _alike_over_anchors(convolution: nn.Conv2d, anchors: int) -> None:
    """Give all anchors at a position the same logit of a class, since they see the same object."""
    weight_AX = convolution.weight.view(anchors, -1)
    weight_AX.copy_(weight_AX[:1].clone().expand_as(weight_AX))


def _last(head: nn.Module) -> nn.Conv2d:
    return [module for module in head.modules() if isinstance(module, nn.Conv2d)][-1]


def _rescale(head: nn.Module, outputs: Sequence[Tensor], *, mean_C: Tensor, spread: float) -> None:
    """Give each output channel this mean and standard deviation over positions of all levels."""
    last = _last(head)
    assert last.bias is not None
    values_CP = torch.cat([each[0].flatten(1) for each in outputs], dim=1)
    now_C = values_CP.std(dim=1)
    ratio_C = torch.where(now_C > 0, spread / now_C, 1.0)
    last.weight.mul_(ratio_C[:, None, None, None])
    last.bias.copy_(mean_C - (values_CP.mean(dim=1) - last.bias) * ratio_C)
