"""What each kind of head is trained for: an objective is one line of OBJECTIVES.

Shapes: B images of a part of a batch, N places for objects in an image, A boxes of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from scaling_lab.detection import LossTerms, detection_loss, match, points_loss
from scaling_lab.training.recipe import Recipe


class Objective(Protocol):
    """The loss of a batch in parts; `count` is what all parts' losses are divided by, as far as this worker knows it."""

    count: int

    def loss(self, part: int, class_logits: list[Tensor], box_outputs: list[Tensor], count: int) -> LossTerms:
        """Return the loss of a part, divided by all workers' `count`."""


class AnchorObjective:
    """Matched anchors: focal loss, Huber and GIoU losses, with the recipe's settings. Counts positives."""

    def __init__(
        self, anchors_A4: Tensor, boxes_BN4: Sequence[Tensor], labels_BN: Sequence[Tensor], recipe: Recipe
    ) -> None:
        self._anchors_A4, self._boxes, self._labels, self._recipe = anchors_A4, boxes_BN4, labels_BN, recipe
        threshold = recipe.match_threshold
        self._matches = [
            match(anchors_A4, *part, threshold=threshold) for part in zip(boxes_BN4, labels_BN, strict=True)
        ]
        self.count = sum(each.image_P.numel() for each in self._matches)

    def loss(self, part: int, class_logits: list[Tensor], box_outputs: list[Tensor], count: int) -> LossTerms:
        """Return the loss of a part, divided by all workers' `count`."""
        recipe = self._recipe
        return detection_loss(
            class_logits,
            box_outputs,
            self._anchors_A4,
            self._matches[part],
            self._boxes[part],
            self._labels[part],
            positives=count,
            alpha=recipe.focal_alpha,
            gamma=recipe.focal_gamma,
            delta=recipe.huber_delta,
            box_weight=recipe.box_weight,
            iou_weight=recipe.iou_weight,
        )


class PointObjective:
    """Task-aligned positions, with the published settings of detection/points.py. Counts objects."""

    def __init__(
        self, cells_A4: Tensor, boxes_BN4: Sequence[Tensor], labels_BN: Sequence[Tensor], recipe: Recipe
    ) -> None:
        self._cells_A4, self._boxes, self._labels = cells_A4, boxes_BN4, labels_BN
        self.count = int(sum((labels >= 0).sum() for labels in labels_BN))

    def loss(self, part: int, class_logits: list[Tensor], box_outputs: list[Tensor], count: int) -> LossTerms:
        """Return the loss of a part, divided by all workers' `count`."""
        return points_loss(
            class_logits, box_outputs, self._cells_A4, self._boxes[part], self._labels[part], objects=count
        )


OBJECTIVES: dict[str, Callable[[Tensor, Sequence[Tensor], Sequence[Tensor], Recipe], Objective]] = {
    "anchors": AnchorObjective,
    "points": PointObjective,
}
