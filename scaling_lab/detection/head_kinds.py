"""How the boxes of each kind of head are decoded: a kind is one line of HEAD_KINDS.

Shapes: A all boxes of an image, in the order of anchors.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scaling_lab.architecture.spec import Anchors, DetectorSpec
from scaling_lab.detection import anchors, points


@dataclass(frozen=True)
class HeadKind:
    """The boxes to which a spec's outputs are relative, as Anchors, and the decoding of (..., 4) outputs at such boxes."""

    references: Callable[[DetectorSpec], Anchors]
    decode: Callable[[Tensor, Tensor], Tensor]


HEAD_KINDS = {
    "anchors": HeadKind(lambda spec: spec.anchors, anchors.decode),
    "points": HeadKind(lambda spec: points.CELL, points.decode),
}


def make_references(
    spec: DetectorSpec, image_size: tuple[int, int], sizes: tuple[tuple[int, int], ...], device: torch.device
) -> Tensor:
    """Return the boxes (A, 4) to which the outputs are relative: anchors, or the cells of positions.

    `image_size` is (height, width), `sizes` those of the features, finest first.
    """
    kind = HEAD_KINDS[spec.head]
    return anchors.make_anchors(kind.references(spec), spec.topology.min_level, image_size, sizes, device)
