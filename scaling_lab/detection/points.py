"""Heads without anchors: a box at every position as distances to its four sides, task-aligned assignment, and the loss.

**Boxes** are FCOS's (arXiv:1904.01355, equation 1): the distances from a position to the box's left, top, right and bottom
side, in strides. **Assignment** is task-aligned (TOOD, arXiv:2108.07755, section 3.2). An object's positives are the 13
positions with the largest score * IoU**6 of what they predict for it, among those within its box. It was chosen over centre
sampling (FCOS) and ATSS because it has no size by level that would have to fit the data. **Classes** learn the
quality of the box instead of 1 (quality focal loss, arXiv:2006.04388, equation 2), so there is no centre-ness branch.

Two things differ from TOOD. The object's nearest position may always be positive, since a box smaller than a stride may hold
none. The loss is divided by the number of objects instead of the sum of the targets. That number is
known before the forward pass, so a batch in parts has the same gradient.

Shapes: B batch, N slots for objects in an image (unused ones have label -1), A positions of an image (as in anchors.py), K
classes, k candidates of an object, P pairs of boxes. A position's cell is a box (x0, y0, x1, y1) of one stride a side around it.
b and n are the images and slots of one piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling_lab.architecture.spec import Anchors
from scaling_lab.detection.anchors import by_position, centres_and_sides
from scaling_lab.detection.losses import LossTerms, giou
from scaling_lab.detection.matching import pairwise_iou, pieces

# What makes a position's cell with make_anchors.
CELL = Anchors(scale=1.0, octave_scales=1, aspects=((1.0, 1.0),))
# The distance of output 0, in strides. A new head's boxes are about 4 strides a side, like the default anchors.
UNIT = 2.0
# TOOD's alpha, beta, m, and the weight of its box loss; quality focal loss's beta.
SCORE_POWER, IOU_POWER, CANDIDATES = 1.0, 6.0, 13
BOX_WEIGHT = 2.0
FOCUS = 2.0


def encode(boxes: Tensor, cells: Tensor) -> Tensor:
    """Return the outputs (..., 4), left, top, right, bottom, for boxes that contain their cells' centres, in float32."""
    x, y, stride_x, stride_y = centres_and_sides(cells.float())
    x0, y0, x1, y1 = boxes.float().unbind(-1)
    distances = torch.stack(
        [(x - x0) / stride_x, (y - y0) / stride_y, (x1 - x) / stride_x, (y1 - y) / stride_y], dim=-1
    )
    return torch.log(distances / UNIT)


def decode(outputs: Tensor, cells: Tensor) -> Tensor:
    """Return the boxes (..., 4) of outputs at cells, in float32: distances of UNIT * exp(output) strides."""
    x, y, stride_x, stride_y = centres_and_sides(cells.float())
    left, top, right, bottom = (UNIT * torch.exp(outputs.float())).unbind(-1)
    return torch.stack([x - left * stride_x, y - top * stride_y, x + right * stride_x, y + bottom * stride_y], dim=-1)


@dataclass(frozen=True, kw_only=True)
class Assigned:
    """Each object's candidates, and which are positive; `target_BNk` is what the score of its class should be, 0 to 1.

    Targets of the others are 0. A list of the positives would make the host wait for their number.
    """

    is_positive_BNk: Tensor
    position_BNk: Tensor
    target_BNk: Tensor


@torch.no_grad()
def assign(
    logits_BAK: Tensor, predicted_BA4: Tensor, cells_A4: Tensor, boxes_BN4: Tensor, labels_BN: Tensor
) -> Assigned:
    """Assign objects to positions by what is predicted there.

    Of several objects at one position, that of largest IoU keeps it, and of equal ones the first. An object's targets are
    proportional to its alignments, and the largest is its largest IoU (TOOD, section 3.2).
    """
    images, positions = predicted_BA4.shape[:2]
    places, most = labels_BN.shape[1], min(CANDIDATES, positions)
    shape = (images, places, most)
    alignment_BNk, iou_BNk = predicted_BA4.new_full(shape, -1.0), predicted_BA4.new_zeros(shape)
    position_BNk = torch.zeros(shape, dtype=torch.int64, device=labels_BN.device)
    for of in pieces(labels_BN >= 0, positions):
        scores_bKA = torch.sigmoid(logits_BAK[of[0]]).transpose(1, 2)
        label_bnA = labels_BN[of].clamp(min=0)[..., None].expand(-1, -1, positions)
        iou_bnA = pairwise_iou(boxes_BN4[of].float(), predicted_BA4[of[0]][:, None])
        alignment_bnA = scores_bKA.gather(1, label_bnA).pow_(SCORE_POWER).mul_(iou_bnA.pow(IOU_POWER))
        alignment_bnA.masked_fill_(~_candidates(boxes_BN4[of].float(), cells_A4), -1.0)
        alignment_BNk[of], position_BNk[of] = alignment_bnA.topk(most, dim=2)
        iou_BNk[of] = iou_bnA.gather(2, position_BNk[of])
    is_positive_BNk = (alignment_BNk >= 0) & (labels_BN >= 0)[..., None]
    is_positive_BNk &= _wins(iou_BNk, position_BNk, is_positive_BNk, positions)

    alignment_BNk = torch.where(is_positive_BNk, alignment_BNk, 0.0)
    best_BN1 = alignment_BNk.amax(dim=2, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    iou_BN1 = torch.where(is_positive_BNk, iou_BNk, 0.0).amax(dim=2, keepdim=True)
    target_BNk = alignment_BNk / best_BN1 * iou_BN1
    return Assigned(is_positive_BNk=is_positive_BNk, position_BNk=position_BNk, target_BNk=target_BNk)


def _candidates(boxes_BN4: Tensor, cells_A4: Tensor) -> Tensor:
    """Return which positions (B, N, A) are inside each box, or nearest to its centre."""
    x_A, y_A, _, _ = centres_and_sides(cells_A4)
    x0, y0, x1, y1 = (side[..., None] for side in boxes_BN4.unbind(-1))
    inside_BNA = (x_A > x0) & (x_A < x1) & (y_A > y0) & (y_A < y1)
    distance_BNA = (x_A - (x0 + x1) / 2).square() + (y_A - (y0 + y1) / 2).square()
    return inside_BNA.scatter_(2, distance_BNA.argmin(dim=2, keepdim=True), True)


def _wins(iou_BNk: Tensor, position_BNk: Tensor, is_positive_BNk: Tensor, positions: int) -> Tensor:
    """Return which positives (B, N, k) keep their position: one at each."""
    images, places, most = iou_BNk.shape
    at = position_BNk.flatten(1)
    iou = torch.where(is_positive_BNk, iou_BNk, -1.0).flatten(1)
    best_BA = iou.new_full((images, positions), -1.0).scatter_reduce_(1, at, iou, "amax")
    is_best = is_positive_BNk.flatten(1) & (iou == best_BA.gather(1, at))
    place = torch.arange(places, device=at.device).repeat_interleave(most).expand_as(at)
    first_BA = torch.full_like(best_BA, places, dtype=torch.int64)
    first_BA.scatter_reduce_(1, at, torch.where(is_best, place, places), "amin")
    return (is_best & (place == first_BA.gather(1, at))).view_as(iou_BNk)


def points_loss(
    class_logits: Sequence[Tensor],
    distances: Sequence[Tensor],
    cells_A4: Tensor,
    boxes_BN4: Tensor,
    labels_BN: Tensor,
    *,
    objects: Tensor | int | None = None,
) -> LossTerms:
    """Return the loss of a batch; `class_logits` (B, K, h, w) and `distances` (B, 4, h, w) are the detector's two lists.

    Quality focal loss of all classes, and BOX_WEIGHT * (1 - GIoU) of the positives weighted by their targets. Both are
    divided by the number of `objects` (default: the batch's own), at least 1.
    """
    logits_BAK = by_position(class_logits, class_logits[0].shape[1]).float()
    predicted_BA4 = decode(by_position(distances, 4), cells_A4)
    found = assign(logits_BAK, predicted_BA4, cells_A4, boxes_BN4, labels_BN)
    count = torch.as_tensor((labels_BN >= 0).sum() if objects is None else objects).clamp(min=1)

    # Sums, since a position has one positive and zeros otherwise.
    at_BNk = found.position_BNk * logits_BAK.shape[2] + labels_BN.clamp(min=0)[..., None]
    target_BX = torch.zeros_like(logits_BAK).flatten(1)
    target_BX.scatter_add_(1, at_BNk.flatten(1), found.target_BNk.flatten(1))
    classes = quality_focal_loss(logits_BAK, target_BX.view_as(logits_BAK)) / count
    predicted_BC4 = predicted_BA4.gather(1, found.position_BNk.flatten(1)[..., None].expand(-1, -1, 4))
    boxes_BNk4 = boxes_BN4.float()[:, :, None].expand(*found.position_BNk.shape, 4)
    # Candidates that are not positive may predict infinite boxes, whose gradients would not be 0.
    is_positive_BNk1 = found.is_positive_BNk[..., None]
    predicted_BNk4 = torch.where(is_positive_BNk1, predicted_BC4.view_as(boxes_BNk4), boxes_BNk4)
    giou_X = giou(predicted_BNk4.flatten(0, 2), boxes_BNk4.flatten(0, 2))
    boxes = BOX_WEIGHT * ((1 - giou_X) * found.target_BNk.flatten()).sum() / count
    return LossTerms(total=classes + boxes, classes=classes.detach(), boxes=boxes.detach())


def quality_focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the sum of |target - score|**2 times the cross-entropy of scores and targets from 0 to 1."""
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return ((targets - torch.sigmoid(logits)).abs().pow(FOCUS) * entropy).sum()
