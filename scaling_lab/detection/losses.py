"""The losses of a batch: focal loss for classes, Huber or IoU loss for boxes, in float32. Matching comes before.

Shapes: B batch, A anchors at a position, K classes, h, w a level's height and width, P positive anchors.
The outputs stay in the network's layout: only the positives are gathered from it.
"""

from __future__ import annotations

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
    places = _places(box_deltas, per_position, matches)

    background = sum(_background_focal(logits, alpha, gamma) for logits in class_logits)
    logits_P = _gather(class_logits, per_position, places, labels_P[:, None])[:, 0]
    classes = (background + _focal_correction(logits_P, alpha, gamma)) / count

    deltas_P4 = _gather(box_deltas, per_position, places, torch.arange(4, device=labels_P.device)[None])
    anchors_P4 = anchors_A4[matches.anchor_P]
    boxes_P4 = boxes_BN4[matches.image_P, matches.object_P].float()
    targets_P4 = encode(boxes_P4, anchors_P4)
    boxes = box_weight * F.huber_loss(deltas_P4, targets_P4, reduction="sum", delta=delta) / (4.0 * count)
    if iou_weight:
        boxes = boxes + iou_weight * (1 - _giou(decode(deltas_P4, anchors_P4), boxes_P4)).sum() / count
    return LossTerms(total=classes + boxes, classes=classes.detach(), boxes=boxes.detach())


@dataclass(frozen=True, kw_only=True)
class _LevelPlaces:
    """The positives of one level: which of the batch's, and where in (B, A, values, h * w)."""

    entry_Q: Tensor
    image_Q: Tensor
    anchor_Q: Tensor
    position_Q: Tensor


def _places(outputs: Sequence[Tensor], per_position: int, matches: Matches) -> list[_LevelPlaces]:
    places, start = [], 0
    for output in outputs:
        size = output.shape[2] * output.shape[3] * per_position
        entry_Q = ((matches.anchor_P >= start) & (matches.anchor_P < start + size)).nonzero()[:, 0]
        within_Q = matches.anchor_P[entry_Q] - start
        places.append(
            _LevelPlaces(
                entry_Q=entry_Q,
                image_Q=matches.image_P[entry_Q],
                anchor_Q=within_Q % per_position,
                position_Q=within_Q // per_position,
            )
        )
        start += size
    return places


def _gather(outputs: Sequence[Tensor], per_position: int, places: list[_LevelPlaces], values_PV: Tensor) -> Tensor:
    """Give (P, V) float32: for each positive the values numbered in its row (or in the one row for all)."""
    parts = []
    for output, place in zip(outputs, places, strict=True):
        batch, channels, height, width = output.shape
        grid = output.reshape(batch, per_position, channels // per_position, height * width)
        values = values_PV if values_PV.shape[0] == 1 else values_PV[place.entry_Q]
        index = (place.image_Q[:, None], place.anchor_Q[:, None], values, place.position_Q[:, None])
        parts.append(grid[index].float())
    order = torch.cat([place.entry_Q for place in places])
    return torch.cat(parts)[torch.argsort(order)]


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
