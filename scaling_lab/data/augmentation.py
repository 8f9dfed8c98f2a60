"""Placement of an image on the network's input: letterbox, scale jitter and mirroring, for pixels and boxes.

    original image            network input
    +------------+            +--------+---+       the image keeps its aspect ratio, at the top left;
    |   +--+     |  * scale   | +-+    | 0 |       the rest is 0 after normalisation, the mean colour
    |   +--+     | - offset   | +-+    | 0 |
    +------------+            +--------+---+

Source: Tan et al. 2020 (scale jitter, then crop or pad) and google/automl efficientdet, dataloader.py. Difference: a box
cropped to less than a quarter is dropped; the original keeps every sliver.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from scaling_lab.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

LEAST_VISIBLE = 0.25
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """`jitter` is the range of a random factor on the letterbox scale. `flip` mirrors half of the images.

    The source sets the mirrored axes: left and right for photographs. `colour` c changes brightness, contrast and saturation
    by random factors from 1 - c to 1 + c.
    """

    jitter: tuple[float, float] = (1.0, 1.0)
    flip: bool = True
    colour: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "jitter", tuple(self.jitter))
        if len(self.jitter) != 2 or not 0 < self.jitter[0] <= self.jitter[1]:
            raise UserError(f"jitter is {self.jitter}; allowed are two numbers, 0 < low <= high")
        if not 0 <= self.colour < 1:
            raise UserError(f"colour is {self.colour}; allowed are numbers from 0 to below 1")

    @property
    def rescales(self) -> bool:
        """Whether images are scaled differently from the letterbox."""
        return self.jitter != (1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The map from an image's own pixels to the network's: mirror, times `scale`, minus `offset` (x, y).

    `filled` is the (height, width) of the network's input that the image covers, from the top left. `colour` are the factors
    of brightness, contrast and saturation.
    """

    original: tuple[int, int]
    scale: float
    offset: tuple[int, int] = (0, 0)
    filled: tuple[int, int]
    mirror_x: bool = False
    mirror_y: bool = False
    colour: tuple[float, float, float] | None = None

    def boxes(self, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map boxes (N, 4) of x0, y0, x1, y1. Return them clipped to the input, and a mask (N,) of those to train on."""
        height, width = self.original
        mapped = boxes.astype(np.float32)
        if self.mirror_x:
            mapped[:, [0, 2]] = width - mapped[:, [2, 0]]
        if self.mirror_y:
            mapped[:, [1, 3]] = height - mapped[:, [3, 1]]
        mapped = mapped * np.float32(self.scale) - np.array(self.offset * 2, dtype=np.float32)
        area = _area(mapped)
        edge = np.array(self.filled[::-1] * 2, dtype=np.float32)
        cut = np.clip(mapped, 0, edge)
        return cut, (_area(cut) >= LEAST_VISIBLE * area) & (_area(cut) > 0)

    def pixels(self, image: Image.Image) -> np.ndarray:
        """Resample the image to the `filled` part of the input: RGB uint8 (height, width, 3)."""
        from PIL import Image

        height, width = self.filled
        x0, x1 = _span(self.offset[0], width, self.scale, self.original[1], self.mirror_x)
        y0, y1 = _span(self.offset[1], height, self.scale, self.original[0], self.mirror_y)
        whole = (x0, y0, x1, y1) == (0, 0, width, height) and image.size == (width, height)
        if not whole:
            image = image.resize((width, height), Image.Resampling.BILINEAR, box=(x0, y0, x1, y1))
        pixels = np.asarray(image)
        return pixels[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1]


def letterbox(original: tuple[int, int], image_size: tuple[int, int]) -> Placement:
    """Return the placement of the whole image (height, width) in the input, as for every held-out image."""
    return _place(original, image_size, _letterbox_scale(original, image_size))


def augmented(
    original: tuple[int, int],
    image_size: tuple[int, int],
    augmentation: Augmentation,
    mirrors: str,
    seed: tuple[int, ...],
) -> Placement:
    """Return a random placement, determined by `seed`. `mirrors` names the axes that may be mirrored, "x" or "xy"."""
    chance = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed))).random(8).tolist()
    low, high = augmentation.jitter
    scale = _letterbox_scale(original, image_size) * (low + (high - low) * chance[0])
    flips = {axis: augmentation.flip and axis in mirrors and chance[1 + "xy".index(axis)] < 0.5 for axis in "xy"}
    placement = _place(original, image_size, scale, chance=(chance[3], chance[4]), flips=flips)
    if not augmentation.colour:
        return placement
    brightness, contrast, saturation = (1 + augmentation.colour * (2 * each - 1) for each in chance[5:])
    return replace(placement, colour=(brightness, contrast, saturation))


def _letterbox_scale(original: tuple[int, int], image_size: tuple[int, int]) -> float:
    return min(image_size[0] / original[0], image_size[1] / original[1])


def _place(
    original: tuple[int, int],
    image_size: tuple[int, int],
    scale: float,
    chance: tuple[float, float] = (0.0, 0.0),
    flips: dict[str, bool] | None = None,
) -> Placement:
    # Rounded down, so that both directions have the same scale; part of the last row or column is lost.
    scaled = [max(1, int(side * scale + _ROUNDING)) for side in original]
    spare = [max(0, side - limit) for side, limit in zip(scaled, image_size, strict=True)]
    top, left = int(chance[1] * (spare[0] + 1)), int(chance[0] * (spare[1] + 1))
    filled = (min(image_size[0], scaled[0] - top), min(image_size[1], scaled[1] - left))
    flips = flips or {"x": False, "y": False}
    return Placement(
        original=original, scale=scale, offset=(left, top), filled=filled, mirror_x=flips["x"], mirror_y=flips["y"]
    )


def _span(offset: int, length: int, scale: float, limit: int, mirrored: bool) -> tuple[float, float]:
    start, end = min(offset / scale, limit), min((offset + length) / scale, limit)
    return (limit - end, limit - start) if mirrored else (start, end)


def _area(boxes: np.ndarray) -> np.ndarray:
    area: np.ndarray = np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)
    return area
