"""The scenes of Shapes as plain numbers: a coloured light, objects and greys.

A scene is on an integer grid of 1024 steps a side. It is the same on every machine and can be rendered at any size. In
128ths of the side:

    +------+--------------------------------+     light, 40 wide, on one of the four sides, red or blue
    |######|------------+                   |
    |######|   large    |       () small    |     small: size 11.3-21.3, at least 52 from the light
    |######|    ###     |                   |
    |######|------------+         [] small  |     large: size 21.3-90.5, a texture of period 4 in the middle
    +------+--------------------------------+

**Size** is the square root of width * height, COCO's own measure. It covers a range of 8:1 log-uniformly: each half octave
occurs equally often in MENUS. Sizes are sampled first, then aspects and positions are resampled until all fit, so that
objects that are hard to place are not rejected.

**Context.** The class of every object is its own detail and the colour of the light. A small object is on the opposite
side, its centre at least 57 from the light. A feature at P3 (stride 8) of the demonstration's network sees at most 55: the
backbone 31 from its centre at 128 px, one cell's convolution and two of a head 8 each. Coarser levels see the light, but
the object is too small for their anchors (P4 starts at 30 px). So its class needs information from coarse levels at fine
ones. The positions of light and objects are uninformative, since the colour is sampled independently.

**Detail.** A small object's detail is its shape, a large one's its texture. The texture's patch is 12 wide (three periods)
at every object size. So the largest objects, which only coarse levels cover, need detail that only fine levels resolve.

docs/log has the measurements and the earlier designs. A frame's colour at 20 from the object needs no feature network. With
large objects that need no colour, no network learned it for small ones. With a light 24 wide, of equal brightness in both
colours, some training runs never used it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

GRID = 1024
# Scenes have no pixels of their own. At 192 a side COCO's "small" (below 32 x 32) is exactly the objects that stand far from
# the light, and medium and large are those with a texture.
NATIVE_SIZE = 192
LIGHT = 320
CONTEXT_MARGIN = 416
GAP = 16
PATCH = 96
STRIPE = 16
SMALL = GRID / 6
SMALLEST = GRID / 128**0.5

SIDES = ("left", "top", "right", "bottom")
SHAPES = ("square", "disc")
COLOURS = ("red", "blue")
TEXTURES = ("rows", "columns")
SPLITS = ("train", "val")
CLASS_NAMES = tuple(f"{detail} by {colour}" for detail in SHAPES + TEXTURES for colour in COLOURS)

# The sizes of one image, as half octaves above SMALLEST; all of 0 and most of 1 are small objects. Each half octave occurs
# four times.
MENUS = ((5, 1), (5, 1), (5, 2), (5, 2), (4, 3, 1, 0), (4, 3, 1, 0), (4, 3, 2, 0), (4, 3, 2, 0))

# Attempts to place one object before the whole image starts over.
_TRIES = 16

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Light:
    """`side` is an index into SIDES, `colour` into COLOURS."""

    side: int
    colour: int

    @property
    def box(self) -> Box:
        """The box of the light."""
        far = GRID - LIGHT
        return ((0, 0, LIGHT, GRID), (0, 0, GRID, LIGHT), (far, 0, GRID, GRID), (0, far, GRID, GRID))[self.side]


@dataclass(frozen=True, slots=True)
class Thing:
    """One object: `shape` an index into SHAPES, `texture` into TEXTURES, or None on a small one; `grey` from 0 to 1."""

    box: Box
    shape: int
    texture: int | None
    grey: float


@dataclass(frozen=True, slots=True)
class Scene:
    """`background` is the grey at the centre, `slope` its change (x, y) over the image, `noise` a seed."""

    light: Light
    things: tuple[Thing, ...]
    background: float
    slope: tuple[float, float]
    noise: int

    @property
    def labels(self) -> tuple[int, ...]:
        """Return the class index of each thing in CLASS_NAMES, from its cues."""
        return tuple(_label(thing, self.light) for thing in self.things)


def _label(thing: Thing, light: Light) -> int:
    detail = thing.shape if thing.texture is None else len(SHAPES) + thing.texture
    return detail * len(COLOURS) + light.colour


@lru_cache(maxsize=1 << 16)
def scene(seed: int, split: str, index: int) -> Scene:
    """Return the scene of (seed, split, index). Splits are separate random streams."""
    draws = _Draws((seed, SPLITS.index(split), index))
    sizes = [SMALLEST * 2.0 ** ((half_octave + draws.number()) / 2) for half_octave in draws.choice(MENUS)]
    light = Light(draws.integer(0, len(SIDES) - 1), draws.integer(0, len(COLOURS) - 1))
    boxes = _arrange(draws, light, sizes)
    background = draws.between(0.40, 0.60)
    things = tuple(_thing(draws, background, box) for box in boxes)
    slope = (draws.between(-0.08, 0.08), draws.between(-0.08, 0.08))
    return Scene(light, things, background, slope, draws.integer(0, 2**30))


def _thing(draws: _Draws, background: float, box: Box) -> Thing:
    # A plain grey, clearly darker or lighter than the background and independent of the class.
    grey = background + draws.between(0.22, 0.36) * (1 if draws.number() < 0.5 else -1)
    shape = draws.integer(0, len(SHAPES) - 1)
    texture = draws.integer(0, len(TEXTURES) - 1)
    return Thing(box, shape, None if is_small(box) else texture, grey)


def is_small(box: Box) -> bool:
    """Return whether an object of this box is small: far from the light and without texture."""
    return (box[2] - box[0]) * (box[3] - box[1]) < SMALL * SMALL


def _arrange(draws: _Draws, light: Light, sizes: list[float]) -> list[Box]:
    """Place all sizes, the largest first, as it is the hardest to place."""
    while True:
        placed: list[Box] = []
        for size in sizes:
            box = _place(draws, light, placed, size)
            if box is None:
                break
            placed.append(box)
        else:
            return placed


def _place(draws: _Draws, light: Light, placed: list[Box], size: float) -> Box | None:
    for _ in range(_TRIES):
        stretch = 0.75 ** (draws.number() - 0.5)
        width, height = round(size * stretch), round(size / stretch)
        left, top, right, bottom = _room(light, is_small((0, 0, width, height)))
        x = left + draws.integer(0, right - left - width)
        y = top + draws.integer(0, bottom - top - height)
        box = (x, y, x + width, y + height)
        if not any(_touch(box, other) for other in placed):
            return box
    return None


def _room(light: Light, small: bool) -> Box:
    """Return the region for an object: a gap from the image's sides, and for a small one far from the light."""
    away = LIGHT + CONTEXT_MARGIN if small else GAP
    left, top, right, bottom = (away if side == light.side else GAP for side in range(len(SIDES)))
    return left, top, GRID - right, GRID - bottom


def _touch(one: Box, other: Box) -> bool:
    apart_x = one[0] >= other[2] + GAP or other[0] >= one[2] + GAP
    apart_y = one[1] >= other[3] + GAP or other[1] >= one[3] + GAP
    return not (apart_x or apart_y)


class _Draws:
    """Random numbers from numpy's PCG64, by `random()` only, since other methods may change between versions."""

    def __init__(self, entropy: tuple[int, ...]) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
        self._block: list[float] = []

    def number(self) -> float:
        """Return a number in [0, 1)."""
        if not self._block:
            self._block = self._generator.random(64).tolist()
            self._block.reverse()
        return self._block.pop()

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.number()

    def integer(self, low: int, high: int) -> int:
        """Return one of low, low + 1, ..., high."""
        return low + int(self.number() * (high - low + 1))

    def choice(self, options: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
        return options[self.integer(0, len(options) - 1)]
