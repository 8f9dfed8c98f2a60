"""Detections from a detector's outputs: the best scores, their boxes, and non-maximum suppression.

Shapes: B batch, A boxes of an image before selection, K classes, D detections of an image. Boxes are (x0, y0, x1, y1) in the
network's pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.detection.anchors import by_position, feature_sizes
from scaling_lab.detection.head_kinds import HEAD_KINDS, make_references


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
    """Return each image's detections: its `candidates` best (box, class) pairs, suppressed by class, at most `most`.

    `limits_B2` is the (height, width) of the input that each image covers; boxes are clipped there before suppression.
    Source: google/automl efficientdet, tf2/postprocess.py, with hard suppression, as in effdet.
    """
    num_classes = spec.num_classes
    sizes = feature_sizes(box_deltas)
    references_A4 = make_references(spec, image_size, sizes, box_deltas[0].device)
    decode = HEAD_KINDS[spec.head].decode
    logits_BAK = by_position(class_logits, num_classes)
    deltas_BA4 = by_position(box_deltas, 4)
    flat = logits_BAK.flatten(1).float()
    logits_BC, index_BC = flat.topk(min(candidates, flat.shape[1]), dim=1)
    found = []
    for b, (logits_C, index_C, deltas_A4) in enumerate(zip(logits_BC, index_BC, deltas_BA4, strict=True)):
        box_C, label_C = index_C // num_classes, index_C % num_classes
        boxes_C4 = decode(deltas_A4[box_C], references_A4[box_C])
        if limits_B2 is not None:
            boxes_C4 = boxes_C4.clamp(min=0).minimum(limits_B2[b].flip(0).repeat(2))
        scores_C = torch.sigmoid(logits_C)
        kept = batched_nms(boxes_C4, scores_C, label_C, iou_threshold)[:most]
        found.append(Detections(boxes_D4=boxes_C4[kept], scores_D=scores_C[kept], labels_D=label_C[kept]))
    return found
