"""Matching of anchors to objects. Only positives are stored; every other anchor is background.

Shapes: B batch, A anchors of an image, N slots for objects in an image (unused ones have label -1), P positives, L levels.
b and n are the images and slots of one piece, whose overlaps with all anchors are in memory together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Number of overlaps, of one object with one anchor, computed at once; about four tensors of that size are alive together.
# A CPU is fastest when they stay in its cache, a GPU with few pieces.
PIECE = {"cpu": 1 << 19, "cuda": 1 << 26}


@dataclass(frozen=True, kw_only=True)
class Matches:
    """The positive anchors of a batch, one entry for each."""

    image_P: Tensor
    anchor_P: Tensor
    object_P: Tensor


@dataclass(frozen=True, kw_only=True)
class Owners:
    """Which anchors of a batch are positive, and their objects; undefined for the others."""

    is_positive_BA: Tensor
    object_BA: Tensor

    def counts(self, level_anchors: Sequence[int]) -> Tensor:
        """Return the numbers of positives of each level, (L,), from an image's number of anchors in each."""
        return torch.stack(
            [level_BA.sum() for level_BA in torch.split(self.is_positive_BA, list(level_anchors), dim=1)]
        )

    def matches(self, positives: int) -> Matches:
        """Return the positives, given their number: finding it here would make the host wait for a GPU."""
        image_P, anchor_P = torch.nonzero_static(self.is_positive_BA, size=positives).unbind(1)
        return Matches(image_P=image_P, anchor_P=anchor_P, object_P=self.object_BA[image_P, anchor_P])


def match(anchors_A4: Tensor, boxes_BN4: Tensor, labels_BN: Tensor, *, threshold: float = 0.5) -> Matches:
    """Return the positives of `owners`. The host waits for their number."""
    found = owners(anchors_A4, boxes_BN4, labels_BN, threshold=threshold)
    return found.matches(int(found.is_positive_BA.sum()))


@torch.no_grad()
def owners(anchors_A4: Tensor, boxes_BN4: Tensor, labels_BN: Tensor, *, threshold: float = 0.5) -> Owners:
    """Match an anchor to the object of largest overlap, if the IoU reaches `threshold`, and each object's best anchor to it.

    There is no band of ignored anchors (google/automl efficientdet, tf2/anchors.py, AnchorLabeler). Memory grows with the
    batch's anchors but not with its objects, which are processed in pieces.
    """
    images, places = labels_BN.shape
    anchors = len(anchors_A4)
    real_BN = labels_BN >= 0
    best_BA = anchors_A4.new_full((images, anchors), -1.0)
    object_BA = torch.zeros((images, anchors), dtype=torch.int64, device=anchors_A4.device)
    anchor_BN = torch.zeros_like(labels_BN)
    for of in pieces(real_BN, anchors):
        iou_bnA = pairwise_iou(boxes_BN4[of].float(), anchors_A4).masked_fill_(~real_BN[of][:, :, None], -1.0)
        anchor_BN[of] = iou_bnA.argmax(dim=2)
        iou_bA, place_bA = iou_bnA.max(dim=1)
        # Among equal overlaps the first object wins, as within a piece.
        better_bA = iou_bA > best_BA[of[0]]
        object_BA[of[0]] = torch.where(better_bA, place_bA + of[1].start, object_BA[of[0]])
        best_BA[of[0]] = torch.maximum(iou_bA, best_BA[of[0]])
    # Where two objects have the same best anchor, the first keeps it.
    place_N = torch.arange(places, device=labels_BN.device)
    place_BN = torch.where(real_BN, place_N, places)
    owner_BA = torch.full_like(object_BA, places).scatter_reduce_(1, anchor_BN, place_BN, "amin")
    owned_BA = owner_BA < places
    object_BA = torch.where(owned_BA, owner_BA, object_BA)
    return Owners(is_positive_BA=(best_BA >= threshold) | owned_BA, object_BA=object_BA)


def pieces(real_BN: Tensor, anchors: int) -> Iterator[tuple[slice, slice]]:
    """Yield the images and slots whose overlaps are computed at once.

    On a CPU image by image, without unused slots at the end. On a GPU all images together, since the numbers of objects
    would require a synchronisation.
    """
    images, places = real_BN.shape
    if real_BN.device.type == "cpu":
        step = max(1, PIECE["cpu"] // anchors)
        ends_B = (real_BN * torch.arange(1, places + 1)).amax(dim=1).tolist()
        groups = [(slice(image, image + 1), end) for image, end in enumerate(ends_B)]
    else:
        step = max(1, PIECE["cuda"] // (images * anchors))
        groups = [(slice(0, images), places)]
    for group, end in groups:
        for first in range(0, end, step):
            yield group, slice(first, min(first + step, end))


def pairwise_iou(boxes_BN4: Tensor, anchors_A4: Tensor) -> Tensor:
    """Return the IoU (B, N, A) of boxes and anchors (A, 4), or of boxes and each image's own, (B, 1, A, 4)."""
    x0, y0, x1, y1 = (side[:, :, None] for side in boxes_BN4.unbind(-1))
    ax0, ay0, ax1, ay1 = anchors_A4.unbind(-1)
    overlap = torch.minimum(x1, ax1).sub_(torch.maximum(x0, ax0)).clamp_(min=0)
    overlap.mul_(torch.minimum(y1, ay1).sub_(torch.maximum(y0, ay0)).clamp_(min=0))
    areas, anchor_areas = (x1 - x0) * (y1 - y0), (ax1 - ax0) * (ay1 - ay0)
    return overlap.div_((areas + anchor_areas).sub_(overlap).clamp_(min=1e-9))
