"""What each kind of head is trained for: an objective is one line of OBJECTIVES.

Shapes: B images of a part of a batch, N places for objects in an image, A boxes of an image, P parts, L levels. `boxes` and
`labels` have a (B, N, 4) and a (B, N) for each part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from scaling_lab.detection import LossTerms, detection_loss, points_loss
from scaling_lab.detection.matching import owners
from scaling_lab.training import group
from scaling_lab.training.recipe import Recipe

Sizes = tuple[tuple[int, int], ...]  # each level's height and width


class Objective(Protocol):
    """The loss of a batch in parts."""

    def loss(self, part: int, class_logits: list[Tensor], box_outputs: list[Tensor]) -> LossTerms:
        """Return the loss of a part, divided by a count of all parts and workers."""


class AnchorObjective:
    """Matched anchors: focal loss, Huber and GIoU losses, with the recipe's settings. Counts positives.

    Their numbers in each part and level are read once, the only wait for the device.
    """

    def __init__(
        self, sizes: Sizes, anchors_A4: Tensor, boxes: Sequence[Tensor], labels: Sequence[Tensor], recipe: Recipe
    ):
        self._anchors_A4, self._boxes, self._labels, self._recipe = anchors_A4, boxes, labels, recipe
        threshold = recipe.match_threshold
        found = [owners(anchors_A4, *part, threshold=threshold) for part in zip(boxes, labels, strict=True)]
        positions = [height * width for height, width in sizes]
        per_position = len(anchors_A4) // sum(positions)
        own_PL = torch.stack([each.counts([per_position * count for count in positions]) for each in found])
        *own, self._positives = torch.cat([own_PL.flatten(), group.summed(own_PL.sum()[None])]).tolist()
        levels = len(positions)
        self._by_level = [own[part * levels : (part + 1) * levels] for part in range(len(found))]
        self._matches = [each.matches(sum(counts)) for each, counts in zip(found, self._by_level, strict=True)]

    def loss(self, part: int, class_logits: list[Tensor], box_outputs: list[Tensor]) -> LossTerms:
        """Return the loss of a part, divided by the positives of all parts and workers, and 1."""
        recipe = self._recipe
        return detection_loss(
            class_logits,
            box_outputs,
            self._anchors_A4,
            self._matches[part],
            self._boxes[part],
            self._labels[part],
            positives=self._positives,
            by_level=self._by_level[part],
            alpha=recipe.focal_alpha,
            gamma=recipe.focal_gamma,
            delta=recipe.huber_delta,
            box_weight=recipe.box_weight,
            iou_weight=recipe.iou_weight,
        )


class PointObjective:
    """Task-aligned positions, with the published settings of detection/points.py. Counts objects."""

    def __init__(
        self, sizes: Sizes, cells_A4: Tensor, boxes: Sequence[Tensor], labels: Sequence[Tensor], recipe: Recipe
    ):
        self._cells_A4, self._boxes, self._labels = cells_A4, boxes, labels
        self._objects = group.summed(torch.stack([(each >= 0).sum() for each in labels]).sum())

    def loss(self, part: int, class_logits: list[Tensor], box_outputs: list[Tensor]) -> LossTerms:
        """Return the loss of a part, divided by the objects of all parts and workers."""
        of_part = (self._cells_A4, self._boxes[part], self._labels[part])
        return points_loss(class_logits, box_outputs, *of_part, objects=self._objects)


# By a spec's head: made of the levels' sizes, an image's anchors or cells, and each part's boxes and labels.
OBJECTIVES: dict[str, Callable[[Sizes, Tensor, Sequence[Tensor], Sequence[Tensor], Recipe], Objective]] = {
    "anchors": AnchorObjective,
    "points": PointObjective,
}
