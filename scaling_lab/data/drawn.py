"""Batches of Shapes, rendered on the device and cached within a memory limit, as epochs repeat the images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from scaling_lab.data.batch_plan import BatchPlan, Example
from scaling_lab.data.rendering import render
from scaling_lab.data.scenes import NATIVE_SIZE, Scene
from scaling_lab.data.shapes import Shapes, boxes
from scaling_lab.data.transfer import to_device

# Of all images kept in one process.
KEPT_BYTES = 512 * 2**20

_NATIVE = (NATIVE_SIZE, NATIVE_SIZE)


def drawn_batches(plan: BatchPlan, source: Shapes) -> Iterator[tuple[Tensor, list[Example]]]:
    """Yield the pixels uint8 (B, 3, H, W) and the examples of each batch."""
    for indices in plan.indices():
        scenes = [source.scene(plan.split, index) for index in indices]
        examples = [drawn_example(plan, index, scene) for index, scene in zip(indices, scenes, strict=True)]
        if plan.split == "train" and plan.augmentation is not None and plan.augmentation.rescales:
            placements = [example.placement for example in examples]
            yield render(scenes, plan.image_size, plan.device, placements), examples
        else:
            yield _whole(plan, source, indices, examples), examples


def drawn_example(plan: BatchPlan, index: int, scene: Scene) -> Example:
    """Return an image's share of a batch."""
    return plan.example(index, index + 1, _NATIVE, boxes(scene), np.array(scene.labels, dtype=np.int64))


def _whole(plan: BatchPlan, source: Shapes, indices: list[int], examples: list[Example]) -> Tensor:
    side = min(plan.image_size)
    square_BCSS = _kept(source, plan.split, side, plan.device).images(indices)
    for pixels_CSS, example in zip(square_BCSS, examples, strict=True):
        placement = example.placement
        axes = [axis for axis, mirrored in ((1, placement.mirror_y), (2, placement.mirror_x)) if mirrored]
        if axes:
            pixels_CSS.copy_(pixels_CSS.flip(axes))
    if plan.image_size == (side, side):
        return square_BCSS
    pixels_BCHW = square_BCSS.new_zeros((len(indices), 3, *plan.image_size))
    pixels_BCHW[:, :, :side, :side] = square_BCSS
    return pixels_BCHW


class _Drawing:
    """The images of one split at one size, rendered at first use and cached within KEPT_BYTES."""

    def __init__(self, source: Shapes, split: str, side: int, device: torch.device) -> None:
        self._source, self._split, self._side, self._device = source, split, side, device
        self.bytes = source.length(split) * 3 * side * side
        self._images: Tensor | None = None
        self._is_drawn = np.zeros(source.length(split), dtype=bool)

    def images(self, indices: list[int]) -> Tensor:
        if self.bytes > KEPT_BYTES:
            return self._draw(indices)
        if self._images is None:
            shape = (len(self._is_drawn), 3, self._side, self._side)
            self._images = torch.empty(shape, dtype=torch.uint8, device=self._device)
        missing = [index for index in indices if not self._is_drawn[index]]
        if missing:
            self._images.index_copy_(0, to_device(torch.tensor(missing), self._device), self._draw(missing))
            self._is_drawn[missing] = True
        return self._images.index_select(0, to_device(torch.tensor(indices), self._device))

    def _draw(self, indices: list[int]) -> Tensor:
        return render([self._source.scene(self._split, index) for index in indices], self._side, self._device)


_DRAWINGS: dict[tuple[Shapes, str, int, torch.device], _Drawing] = {}


def forget() -> None:
    """Clear the cache of rendered images."""
    _DRAWINGS.clear()


def _kept(source: Shapes, split: str, side: int, device: torch.device) -> _Drawing:
    key = (source, split, side, device)
    drawing = _DRAWINGS.pop(key, None) or _Drawing(source, split, side, device)
    # The least recently used are removed first.
    while _DRAWINGS and drawing.bytes + sum(other.bytes for other in _DRAWINGS.values()) > KEPT_BYTES:
        del _DRAWINGS[next(iter(_DRAWINGS))]
    _DRAWINGS[key] = drawing
    return drawing
