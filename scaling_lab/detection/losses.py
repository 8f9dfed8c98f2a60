"""The losses of a batch after matching: focal loss for classes, Huber and IoU losses for boxes, in float32.

Shapes: B batch, A anchors at a position, K classes, h, w a level's height and width, P positive anchors, Q those of one
level. The outputs stay in the network's layout; only the positives are gathered.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from scaling_lab.detection.anchors import decode, encode
from scaling_lab.detection.matching import Matches

# Logits a CPU thread processes at once, few enough to stay in its cache between operations.
CHUNK = 1 << 15


@dataclass(frozen=True, kw_only=True)
class LossTerms:
    """Scalars: `total` is minimised; `classes` and `boxes` are its weighted terms."""

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
    positives: int | None = None,
    by_level: Sequence[int] | None = None,
    alpha: float = 0.25,
    gamma: float = 1.5,
    delta: float = 0.1,
    box_weight: float = 50.0,
    iou_weight: float = 0.0,
) -> LossTerms:
    """Return the loss of a batch; `class_logits` and `box_deltas` are the detector's two lists.

    Both terms are divided by `positives` + 1 (default: the batch's own), the box term also by 4. `iou_weight` times the mean
    1 - GIoU of the positives is added (google/automl, tf2/train_lib.py; arXiv:1911.09070, section 5.1). `by_level` are the
    batch's numbers of positives of each level; without them, the host waits for the device to count.
    """
    per_position = box_deltas[0].shape[1] // 4
    count = (matches.image_P.numel() if positives is None else positives) + 1.0
    labels_P = labels_BN[matches.image_P, matches.object_P]
    levels = _by_level(box_deltas, per_position, matches, by_level)
    num_classes = class_logits[0].shape[1] // per_position
    places = [level.places(num_classes, labels_P[level.rows_Q, None]) for level in levels]
    classes = _FocalLoss.apply(places, alpha, gamma, count, *class_logits)

    coordinates = torch.arange(4, device=labels_P.device)[None]
    deltas_P4 = torch.cat(
        [x[level.places(4, coordinates)] for x, level in zip(box_deltas, levels, strict=True)]
    ).float()
    rows_P = torch.cat([level.rows_Q for level in levels])
    anchors_P4 = anchors_A4[matches.anchor_P[rows_P]]
    boxes_P4 = boxes_BN4[matches.image_P[rows_P], matches.object_P[rows_P]].float()
    targets_P4 = encode(boxes_P4, anchors_P4)
    boxes = box_weight * F.huber_loss(deltas_P4, targets_P4, reduction="sum", delta=delta) / (4.0 * count)
    if iou_weight:
        boxes = boxes + iou_weight * (1 - giou(decode(deltas_P4, anchors_P4), boxes_P4)).sum() / count
    return LossTerms(total=classes + boxes, classes=classes.detach(), boxes=boxes.detach())


@dataclass(frozen=True)
class _Level:
    """The positives of one level: their indices among all P, and the positions of their anchors."""

    rows_Q: Tensor
    image_Q: Tensor
    anchor_Q: Tensor  # at its position, 0 to A - 1
    y_Q: Tensor
    x_Q: Tensor

    def places(self, values: int, number_QV: Tensor) -> tuple[Tensor, ...]:
        """Return indices, jointly (Q, V), of the values with these numbers in an output (B, A * values, h, w)."""
        channel_QV = self.anchor_Q[:, None] * values + number_QV
        return self.image_Q[:, None], channel_QV, self.y_Q[:, None], self.x_Q[:, None]


def _by_level(
    outputs: Sequence[Tensor], per_position: int, matches: Matches, counts: Sequence[int] | None
) -> list[_Level]:
    sizes = [(output.shape[2], output.shape[3]) for output in outputs]
    ends = list(itertools.accumulate(height * width * per_position for height, width in sizes))
    is_beyond_LP = torch.stack([matches.anchor_P >= end for end in ends])
    level_P = is_beyond_LP.sum(dim=0)
    if counts is None:
        beyond = [len(level_P), *is_beyond_LP.sum(dim=1).tolist()]
        counts = [first - last for first, last in itertools.pairwise(beyond)]
    of_levels = torch.split(level_P.argsort(stable=True), list(counts))
    levels = []
    for rows_Q, first, (_, width) in zip(of_levels, [0, *ends], sizes, strict=False):
        within_Q = matches.anchor_P[rows_Q] - first
        position_Q = within_Q // per_position
        at = (within_Q % per_position, position_Q // width, position_Q % width)
        levels.append(_Level(rows_Q, matches.image_P[rows_Q], *at))
    return levels


class _FocalLoss(torch.autograd.Function):
    """The focal loss of all logits over `count`; its gradient is computed in the same pass.

    Every logit counts as background first; those of the positives, at `places`, are then corrected.
    """

    @staticmethod
    def forward(
        ctx: Any, places: list[tuple[Tensor, ...]], alpha: float, gamma: float, count: float, *class_logits: Tensor
    ) -> Tensor:
        total = torch.zeros((), device=class_logits[0].device)
        gradients = []
        for level, logits in enumerate(class_logits):
            if not logits.is_contiguous(memory_format=torch.channels_last):
                logits = logits.contiguous()
            # float16 would underflow before a gradient scaler's factor is applied.
            kept = torch.float32 if logits.dtype == torch.float16 else logits.dtype
            gradient = torch.empty_like(logits, dtype=kept)
            scale = (1 - alpha) / count
            total += _background(_in_memory_order(logits), _in_memory_order(gradient), gamma, scale)
            x = logits[places[level]].float()
            p, q = torch.sigmoid(x), torch.sigmoid(-x)
            loss = F.softplus(-x)  # -log p
            own = q.pow(gamma) * loss * (alpha / count)
            total += (own - p.pow(gamma) * F.softplus(x) * scale).sum()
            # d/dx of (1 - p)**gamma softplus(-x) is -(1 - p)**gamma (gamma p softplus(-x) + 1 - p)
            gradient[places[level]] = (q.pow(gamma) * (gamma * p * loss + q) * (-alpha / count)).to(gradient.dtype)
            gradients.append(gradient)
        ctx.save_for_backward(*gradients)
        ctx.dtype = class_logits[0].dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gradients, factor = ctx.saved_tensors, grads[0]
        if factor.device.type != "cpu" or factor != 1:  # reading a GPU's value would synchronise
            gradients = [gradient * factor for gradient in gradients]
        return None, None, None, None, *(gradient.to(ctx.dtype) for gradient in gradients)


def _in_memory_order(x: Tensor) -> Tensor:
    """Return a dense tensor's values as one row, without a copy."""
    return x.flatten() if x.is_contiguous() else x.permute(0, 2, 3, 1).flatten()


def _background(logits: Tensor, gradient: Tensor, gamma: float, scale: float) -> Tensor:
    """Return scale times the sum of p**gamma softplus(x), and write its gradient."""
    chunk = CHUNK * torch.get_num_threads() if logits.device.type == "cpu" else logits.numel()
    sums = []
    for x, into in zip(torch.split(logits, chunk), torch.split(gradient, chunk), strict=True):
        x = x.float()
        p = torch.sigmoid(x)
        loss = F.softplus(x)  # -log(1 - p)
        modulated = (p.sqrt().mul_(p) if gamma == 1.5 else p.pow(gamma)).mul_(scale)
        sums.append(torch.dot(modulated, loss))
        # d/dx of p**gamma softplus(x) is p**gamma (gamma (1 - p) softplus(x) + p)
        into.copy_((1 - p).mul_(loss).mul_(gamma).add_(p).mul_(modulated))
    return torch.stack(sums).sum()


def giou(a_P4: Tensor, b_P4: Tensor) -> Tensor:
    """Return the generalised IoU (P,) of pairs of boxes (arXiv:1902.09630), -1 to 1."""
    overlap = (torch.minimum(a_P4[:, 2:], b_P4[:, 2:]) - torch.maximum(a_P4[:, :2], b_P4[:, :2])).clamp(min=0).prod(1)
    hull = (torch.maximum(a_P4[:, 2:], b_P4[:, 2:]) - torch.minimum(a_P4[:, :2], b_P4[:, :2])).prod(1)
    union = (a_P4[:, 2:] - a_P4[:, :2]).prod(1) + (b_P4[:, 2:] - b_P4[:, :2]).prod(1) - overlap
    return overlap / union.clamp(min=1e-7) - (hull - union) / hull.clamp(min=1e-7)
