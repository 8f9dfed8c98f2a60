"""Anchors, and boxes as deltas from them.

Shapes: A all anchors of an image (level by level, finest first; within one row, column, then anchor at the position),
L levels. Boxes are (x0, y0, x1, y1) in pixels of the network's input; deltas are (ty, tx, th, tw).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from scaling_lab.architecture.spec import Anchors

# google/automl uses 1e-8, which is 0 in float16; effdet issue 291.
EPSILON = 1e-7


@lru_cache(maxsize=32)
def make_anchors(
    anchors: Anchors,
    min_level: int,
    image_size: tuple[int, int],
    feature_sizes: tuple[tuple[int, int], ...],
    device: torch.device,
) -> Tensor:
    """Return the anchors (A, 4) of an image of `image_size` (height, width), for features of these sizes, finest first.

    A position's centre is (i + .5) times its stride, image over feature, for each axis (google/automl, tf2/anchors.py).
    """
    levels = []
    for place, (height, width) in enumerate(feature_sizes):
        scale = anchors.scale[place] if isinstance(anchors.scale, tuple) else anchors.scale
        stride_y, stride_x = image_size[0] / height, image_size[1] / width
        octaves = 2.0 ** (torch.arange(anchors.octave_scales, dtype=torch.float64) / anchors.octave_scales)
        aspects = torch.tensor(anchors.aspects, dtype=torch.float64)
        sides_x = (scale * stride_x * octaves[:, None] * aspects[None, :, 0]).flatten()
        sides_y = (scale * stride_y * octaves[:, None] * aspects[None, :, 1]).flatten()
        centres_y = (torch.arange(height, dtype=torch.float64) + 0.5) * stride_y
        centres_x = (torch.arange(width, dtype=torch.float64) + 0.5) * stride_x
        shape = (height, width, len(sides_x))
        y, x = centres_y[:, None, None].expand(shape), centres_x[None, :, None].expand(shape)
        half_x, half_y = (sides_x / 2).expand(shape), (sides_y / 2).expand(shape)
        levels.append(torch.stack([x - half_x, y - half_y, x + half_x, y + half_y], dim=-1).reshape(-1, 4))
    return torch.cat(levels).to(device=device, dtype=torch.float32)


def feature_sizes(outputs: Sequence[Tensor]) -> tuple[tuple[int, int], ...]:
    """Return (height, width) of each level's output."""
    return tuple((int(output.shape[-2]), int(output.shape[-1])) for output in outputs)


def by_position(outputs: Sequence[Tensor], values: int) -> Tensor:
    """Rearrange (B, boxes * values, h, w) of all levels to (B, A, values)."""
    return torch.cat([x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, values) for x in outputs], dim=1)


def centres_and_sides(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return x and y of the centre, width and height of corners (..., 4)."""
    x0, y0, x1, y1 = boxes.unbind(-1)
    return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Return the deltas (..., 4) from anchors to boxes, in float32 (google/automl, faster_rcnn_box_coder.py)."""
    x, y, width, height = centres_and_sides(boxes.float())
    anchor_x, anchor_y, anchor_width, anchor_height = centres_and_sides(anchors.float())
    ty, tx = (y - anchor_y) / anchor_height, (x - anchor_x) / anchor_width
    th = torch.log(height.clamp(min=EPSILON) / anchor_height)
    tw = torch.log(width.clamp(min=EPSILON) / anchor_width)
    return torch.stack([ty, tx, th, tw], dim=-1)


def decode(deltas: Tensor, anchors: Tensor) -> Tensor:
    """Return the boxes (..., 4) of deltas from anchors, in float32."""
    ty, tx, th, tw = deltas.float().unbind(-1)
    anchor_x, anchor_y, anchor_width, anchor_height = centres_and_sides(anchors.float())
    x, y = tx * anchor_width + anchor_x, ty * anchor_height + anchor_y
    half_width, half_height = torch.exp(tw) * anchor_width / 2, torch.exp(th) * anchor_height / 2
    return torch.stack([x - half_width, y - half_height, x + half_width, y + half_height], dim=-1)
