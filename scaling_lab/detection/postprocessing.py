"""Detections from a detector's outputs: the best scores, their boxes, and non-maximum suppression.

Shapes: B batch, A anchors of an image, K classes, D detections of an image. Boxes are (x0, y0, x1, y1) in the network's pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.detection.anchors import decode, feature_sizes, make_anchors


@dataclass(frozen=True, kw_only=True)
class Detections:
    """One image's detections, best first; `labels_D` are class indices, `scores_D` 0 to 1."""

    boxes_D4: Tensor
    scores_D: Tensor
    labels_D: Tensor


@torch.no_grad()
def detect(
    class_logits: Sequence[Tensor],
    box_deltas: Sequence[Tensor],
    spec: DetectorSpec,
    image_size: tuple[int, int],
    *,
    candidates: int = 5000,
    iou_threshold: float = 0.5,
    most: int = 100,
    limits_B2: Tensor | None = None,
) -> list[Detections]:
    """Return each image's detections: its `candidates` best (anchor, class) pairs, suppressed by class, at most `most`.

    `limits_B2` is the (height, width) of the input that each image covers; boxes are clipped there before suppression.
    Source: google/automl efficientdet, tf2/postprocess.py, with hard suppression, as in effdet.
    """
    num_classes = spec.num_classes
    sizes = feature_sizes(box_deltas)
    anchors_A4 = make_anchors(spec.anchors, spec.topology.min_level, image_size, sizes, box_deltas[0].device)
    logits_BAK = by_anchor(class_logits, num_classes)
    deltas_BA4 = by_anchor(box_deltas, 4)
    flat = logits_BAK.flatten(1).float()
    logits_BC, index_BC = flat.topk(min(candidates, flat.shape[1]), dim=1)
    found = []
    for b, (logits_C, index_C, deltas_A4) in enumerate(zip(logits_BC, index_BC, deltas_BA4, strict=True)):
        anchor_C, label_C = index_C // num_classes, index_C % num_classes
        boxes_C4 = decode(deltas_A4[anchor_C], anchors_A4[anchor_C])
        if limits_B2 is not None:
            boxes_C4 = boxes_C4.clamp(min=0).minimum(limits_B2[b].flip(0).repeat(2))
        scores_C = torch.sigmoid(logits_C)
        kept = batched_nms(boxes_C4, scores_C, label_C, iou_threshold)[:most]
        found.append(Detections(boxes_D4=boxes_C4[kept], scores_D=scores_C[kept], labels_D=label_C[kept]))
    return found


def by_anchor(outputs: Sequence[Tensor], values: int) -> Tensor:
    """Rearrange (B, anchors * values, h, w) of all levels to (B, A, values)."""
    return torch.cat([x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, values) for x in outputs], dim=1)
