"""The losses of a batch: focal loss for classes, Huber or IoU loss for boxes, in float32. Matching comes before.

Shapes: B batch, A anchors at a position, K classes, h, w a level's height and width, P positive anchors.
The outputs stay in the network's layout: only the positives are gathered from it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling_lab.detection.anchors import decode, encode
from scaling_lab.detection.matching import Matches


@dataclass(frozen=True, kw_only=True)
class LossTerms:
    """Scalars: `total` is what is minimised, `classes` and `boxes` its terms with their weights."""

    total: Tensor
    classes: Tensor
    boxes: Tensor


def detection_loss(
    class_logits: Sequence[Tensor],
    box_deltas: Sequence[Tensor],
    anchors_A4: Tensor,
    matches: Matches,
    boxes_BN4: Tensor,
    labels_BN: Tensor,
    *,
    alpha: float = 0.25,
    gamma: float = 1.5,
    delta: float = 0.1,
    box_weight: float = 50.0,
    iou_weight: float = 0.0,
) -> LossTerms:
    """Give the loss of a batch; `class_logits` and `box_deltas` are the detector's two lists.

    Both terms are divided by the batch's positives + 1, the boxes' by 4 times that. `iou_weight` times the mean of
    1 - GIoU of the positives is added (google/automl, tf2/train_lib.py; arXiv:1911.09070, section 5.1).
    """
    per_position = box_deltas[0].shape[1] // 4
    count = matches.image_P.numel() + 1.0
    labels_P = labels_BN[matches.image_P, matches.object_P]
    flat_logits, flat_deltas = _flat(class_logits), _flat(box_deltas)

    logits_P = flat_logits[_places(class_logits, per_position, matches, labels_P[:, None])[:, 0]].float()
    background = _background_focal(flat_logits, alpha, gamma)
    classes = (background + _focal_correction(logits_P, alpha, gamma)) / count

    coordinates = torch.arange(4, device=labels_P.device)[None]
    deltas_P4 = flat_deltas[_places(box_deltas, per_position, matches, coordinates)].float()
    anchors_P4 = anchors_A4[matches.anchor_P]
    boxes_P4 = boxes_BN4[matches.image_P, matches.object_P].float()
    targets_P4 = encode(boxes_P4, anchors_P4)
    boxes = box_weight * F.huber_loss(deltas_P4, targets_P4, reduction="sum", delta=delta) / (4.0 * count)
    if iou_weight:
        boxes = boxes + iou_weight * (1 - _giou(decode(deltas_P4, anchors_P4), boxes_P4)).sum() / count
    return LossTerms(total=classes + boxes, classes=classes.detach(), boxes=boxes.detach())


def _flat(outputs: Sequence[Tensor]) -> Tensor:
    """Bring all levels' (B, A * values, h, w) into one row, level after level."""
    return torch.cat([output.flatten() for output in outputs])


def _places(outputs: Sequence[Tensor], per_position: int, matches: Matches, values_PV: Tensor) -> Tensor:
    """Give (P, V): where in `_flat(outputs)` the values numbered in `values_PV` of each positive's anchor stand."""
    device = matches.anchor_P.device
    areas = [output.shape[2] * output.shape[3] for output in outputs]
    first_anchors = [0, *itertools.accumulate(area * per_position for area in areas)]
    first_places = [0, *itertools.accumulate(output.numel() for output in outputs)]
    ends_L = torch.tensor(first_anchors[1:], device=device)
    level_P = torch.bucketize(matches.anchor_P, ends_L, right=True)
    table_L3 = torch.tensor([*zip(areas, first_anchors, first_places, strict=False)], device=device)
    area_P, anchor_P, place_P = table_L3[level_P].unbind(1)
    within_P = matches.anchor_P - anchor_P
    image_and_anchor_P = matches.image_P * per_position + within_P % per_position
    values = outputs[0].shape[1] // per_position
    channel_PV = image_and_anchor_P[:, None] * values + values_PV
    return place_P[:, None] + channel_PV * area_P[:, None] + (within_P // per_position)[:, None]


class _BackgroundFocal(torch.autograd.Function):
    """The focal loss of logits that are all background, summed; its gradient is made in the same pass."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, alpha: float, gamma: float) -> Tensor:
        x = logits.float()
        p = torch.sigmoid(x)
        loss = F.softplus(x)  # -log(1 - p)
        modulated = p * p.sqrt() if gamma == 1.5 else p.pow(gamma)
        modulated *= 1 - alpha
        # d/dx of (1 - alpha) p**gamma softplus(x) is (1 - alpha) p**gamma (gamma (1 - p) softplus(x) + p)
        ctx.save_for_backward(((1 - p).mul_(loss).mul_(gamma).add_(p)).mul_(modulated).to(logits.dtype))
        return (modulated * loss).sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0], None, None


def _background_focal(logits: Tensor, alpha: float, gamma: float) -> Tensor:
    return _BackgroundFocal.apply(logits, alpha, gamma)  # type: ignore[no-any-return]


def _focal_correction(logits_P: Tensor, alpha: float, gamma: float) -> Tensor:
    """Give the sum over positives of their own focal term less the background term that was counted for them."""
    p_P = torch.sigmoid(logits_P)
    own = alpha * (1 - p_P).pow(gamma) * F.softplus(-logits_P)
    counted = (1 - alpha) * p_P.pow(gamma) * F.softplus(logits_P)
    return (own - counted).sum()


def _giou(a_P4: Tensor, b_P4: Tensor) -> Tensor:
    """Generalised IoU of pairs of boxes (arXiv:1902.09630), -1 to 1."""
    overlap = (torch.minimum(a_P4[:, 2:], b_P4[:, 2:]) - torch.maximum(a_P4[:, :2], b_P4[:, :2])).clamp(min=0).prod(1)
    hull = (torch.maximum(a_P4[:, 2:], b_P4[:, 2:]) - torch.minimum(a_P4[:, :2], b_P4[:, :2])).prod(1)
    union = (a_P4[:, 2:] - a_P4[:, :2]).prod(1) + (b_P4[:, 2:] - b_P4[:, :2]).prod(1) - overlap
    return overlap / union.clamp(min=1e-7) - (hull - union) / hull.clamp(min=1e-7)
