"""Which anchor is to find which object. Only the positives are written down: every other anchor is background.

Shapes: B batch, A anchors of an image, N places for objects in an image (unused ones have label -1), P positives.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Matches:
    """The positive anchors of a batch, one entry for each."""

    image_P: Tensor
    anchor_P: Tensor
    object_P: Tensor


@torch.no_grad()
def match(anchors_A4: Tensor, boxes_BN4: Tensor, labels_BN: Tensor, *, threshold: float = 0.5) -> Matches:
    """Match an anchor to the object it overlaps most, if their IoU reaches `threshold`, and each object's best anchor to it.

    There is no band of ignored anchors (google/automl efficientdet, tf2/anchors.py, AnchorLabeler).
    """
    real_BN = labels_BN >= 0
    iou_BNA = _iou(boxes_BN4.float(), anchors_A4).masked_fill_(~real_BN[:, :, None], -1.0)
    best_BA, object_BA = iou_BNA.max(dim=1)
    positive_BA = best_BA >= threshold
    image_F, object_F = real_BN.nonzero(as_tuple=True)
    anchor_F = iou_BNA.argmax(dim=2)[image_F, object_F]
    # Where two objects have the same best anchor, the first keeps it: so the later are written before.
    image_F, object_F, anchor_F = image_F.flip(0), object_F.flip(0), anchor_F.flip(0)
    for image, number, anchor in zip(image_F.tolist(), object_F.tolist(), anchor_F.tolist(), strict=True):
        object_BA[image, anchor] = number
    positive_BA[image_F, anchor_F] = True
    image_P, anchor_P = positive_BA.nonzero(as_tuple=True)
    return Matches(image_P=image_P, anchor_P=anchor_P, object_P=object_BA[image_P, anchor_P])


def _iou(boxes_BN4: Tensor, anchors_A4: Tensor) -> Tensor:
    """Give (B, N, A)."""
    x0, y0, x1, y1 = (side[:, :, None] for side in boxes_BN4.unbind(-1))
    ax0, ay0, ax1, ay1 = anchors_A4.unbind(-1)
    overlap = torch.minimum(x1, ax1).sub_(torch.maximum(x0, ax0)).clamp_(min=0)
    overlap.mul_(torch.minimum(y1, ay1).sub_(torch.maximum(y0, ay0)).clamp_(min=0))
    areas, anchor_areas = (x1 - x0) * (y1 - y0), (ax1 - ax0) * (ay1 - ay0)
    return overlap.div_((areas + anchor_areas).sub_(overlap).clamp_(min=1e-9))
