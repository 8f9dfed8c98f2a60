"""The scenes of Shapes as plain numbers: panels, objects, greys. It draws no pixel and knows no image size.

A scene lies on a grid of 1024 steps a side, all integers, so that it is the same on every machine and can be rendered
at any size. In 128ths of the side, which is what the prototypes were measured in:

    +--------------------------+----------------+     one panel, or two (the cut lies between 24 and 104, mostly
    | frame, 4 wide, red/blue  |                |     near the middle), each with a frame; of two frames one is
    |                          |   +-------+    |     red and one blue, so that which colours there are says nothing
    |          [] small        |   | large |    |
    |             ()           |   |  ###  |    |     small: size 10.7-21.3, at least 20 from every frame
    |                          |   +-------+    |     large: size 21.3-85.3, a texture of period 4 in the middle
    +--------------------------+----------------+

**Size** is the square root of width * height, COCO's own measure. It runs over 8:1, from 1/12 to 2/3 of the side, and
is log-uniform: MENUS holds each half octave equally often, sizes are drawn first, and only aspects, panels and places
are drawn again until all fit, so that what fits badly is not left out.

**Context.** The class of a small object is its shape and the colour of the frame around its panel. The panel must be
at least 4 + 20 + width + 20 + 4 wide. One cut in the middle (64) therefore holds only objects up to 16 wide, so the cut
is spread: wider objects stand in a wider panel, not closer to the frame. 20 is what the prototypes were measured with:
from the centre of an object to a frame it is at least 25, beyond what a small backbone sees at P3 (stride 8). Where two
panels do not fit, the image is one panel; a quarter of the small objects stand in such a one.

**Texture.** The patch is 12 wide (three periods) whatever the object's size: the largest objects, which only coarse
levels cover, hang on a detail that only fine levels resolve.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

# In steps of the grid, of which 8 are one 128th.
GRID = 1024
FRAME = 32
CONTEXT_MARGIN = 160
GAP = 16
PATCH = 96
STRIPE = 16
SMALLEST = GRID / 12
SMALL = GRID / 6
CUTS = (192, 832)

# The share of images for which two panels are not tried.
ONE_PANEL = 0.15
SHAPES = ("square", "disc")
COLOURS = ("red", "blue")
TEXTURES = ("rows", "columns")
SPLITS = ("train", "val")
CLASS_NAMES = tuple(f"{shape} in {colour}" for shape in SHAPES for colour in COLOURS) + tuple(
    f"{shape} with {texture}" for shape in SHAPES for texture in TEXTURES
)

# The sizes of one image, as half octaves above SMALLEST; 0 and 1 are small objects. Each half octave stands here
# four times.
MENUS = ((5, 2), (5, 2), (5, 3), (5, 3), (4, 1, 0), (4, 1, 0), (4, 3, 2, 1, 0), (4, 3, 2, 1, 0))

# How often one object is tried in one layout, and two panels before the image becomes one.
_TRIES = 16
_LAYOUTS = 30

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Panel:
    """`box` is (x0, y0, x1, y1) with its frame; `colour` an index into COLOURS."""

    box: Box
    colour: int


@dataclass(frozen=True, slots=True)
class Thing:
    """One object: `shape` an index into SHAPES, `texture` into TEXTURES, or None on a small one; `grey` from 0 to 1."""

    box: Box
    panel: int
    shape: int
    texture: int | None
    grey: float


@dataclass(frozen=True, slots=True)
class Scene:
    """`background` is the grey at the centre, `slope` its change (x, y) over the image, `noise` a seed."""

    panels: tuple[Panel, ...]
    things: tuple[Thing, ...]
    background: float
    slope: tuple[float, float]
    noise: int

    @property
    def labels(self) -> tuple[int, ...]:
        """The class index of each thing, in CLASS_NAMES: nothing but its cues decides it."""
        return tuple(_label(thing, self.panels[thing.panel]) for thing in self.things)


def _label(thing: Thing, panel: Panel) -> int:
    if thing.texture is None:
        return thing.shape * len(COLOURS) + panel.colour
    return len(SHAPES) * len(COLOURS) + thing.shape * len(TEXTURES) + thing.texture


@lru_cache(maxsize=1 << 16)
def scene(seed: int, split: str, index: int) -> Scene:
    """Draw the scene of (seed, split, index). The splits are different streams of random numbers."""
    draws = _Draws((seed, SPLITS.index(split), index))
    sizes = [SMALLEST * 2.0 ** ((half_octave + draws.number()) / 2) for half_octave in draws.choice(MENUS)]
    panels, placed = _arrange(draws, sizes)
    background = draws.between(0.40, 0.60)
    things = tuple(_thing(draws, background, box, panel) for box, panel in placed)
    slope = (draws.between(-0.08, 0.08), draws.between(-0.08, 0.08))
    return Scene(panels, things, background, slope, draws.integer(0, 2**30))


def _thing(draws: _Draws, background: float, box: Box, panel: int) -> Thing:
    # A plain grey, clearly darker or lighter than the background: it tells nothing about the class.
    grey = background + draws.between(0.22, 0.36) * (1 if draws.number() < 0.5 else -1)
    shape = draws.integer(0, len(SHAPES) - 1)
    texture = draws.integer(0, len(TEXTURES) - 1)
    return Thing(box, panel, shape, None if is_small(box) else texture, grey)


def is_small(box: Box) -> bool:
    """Say whether an object of this box takes its class from the frame, and so stands far from it."""
    return (box[2] - box[0]) * (box[3] - box[1]) < SMALL * SMALL


def _arrange(draws: _Draws, sizes: list[float]) -> tuple[tuple[Panel, ...], list[tuple[Box, int]]]:
    # Small objects have the least room and come first; the large ones then find their place around them.
    sizes = sorted(sizes, key=lambda size: (size > SMALL, -size))
    two = draws.number() >= ONE_PANEL
    for attempt in itertools.count():
        panels = _panels(draws, two and attempt < _LAYOUTS)
        placed: list[tuple[Box, int]] = []
        for size in sizes:
            found = _place(draws, panels, placed, size)
            if found is None:
                break
            placed.append(found)
        else:
            return panels, placed
    raise AssertionError("unreachable: the loop ends by returning")


def _panels(draws: _Draws, two: bool) -> tuple[Panel, ...]:
    colour = draws.integer(0, 1)
    if not two:
        return (Panel((0, 0, GRID, GRID), colour),)
    cut = (draws.integer(*CUTS) + draws.integer(*CUTS)) // 2
    if draws.number() < 0.5:
        return Panel((0, 0, cut, GRID), colour), Panel((cut, 0, GRID, GRID), 1 - colour)
    return Panel((0, 0, GRID, cut), colour), Panel((0, cut, GRID, GRID), 1 - colour)


def _place(
    draws: _Draws, panels: tuple[Panel, ...], placed: list[tuple[Box, int]], size: float
) -> tuple[Box, int] | None:
    for _ in range(_TRIES):
        stretch = 0.75 ** (draws.number() - 0.5)
        width, height = round(size * stretch), round(size / stretch)
        margin = FRAME + (CONTEXT_MARGIN if is_small((0, 0, width, height)) else GAP)
        index = draws.integer(0, len(panels) - 1)
        left, top, right, bottom = panels[index].box
        room_x, room_y = right - left - 2 * margin - width, bottom - top - 2 * margin - height
        if room_x < 0 or room_y < 0:
            continue
        x, y = left + margin + draws.integer(0, room_x), top + margin + draws.integer(0, room_y)
        box = (x, y, x + width, y + height)
        if not any(_touch(box, other) for other, _ in placed):
            return box, index
    return None


def _touch(one: Box, other: Box) -> bool:
    apart_x = one[0] >= other[2] + GAP or other[0] >= one[2] + GAP
    apart_y = one[1] >= other[3] + GAP or other[1] >= one[3] + GAP
    return not (apart_x or apart_y)


class _Draws:
    """Numbers from numpy's PCG64, by `random()` alone: the other methods may change between numpy's versions."""

    def __init__(self, entropy: tuple[int, ...]) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
        self._block: list[float] = []

    def number(self) -> float:
        """One of [0, 1)."""
        if not self._block:
            self._block = self._generator.random(64).tolist()
            self._block.reverse()
        return self._block.pop()

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.number()

    def integer(self, low: int, high: int) -> int:
        """One of low, low + 1, ..., high."""
        return low + int(self.number() * (high - low + 1))

    def choice(self, options: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
        return options[self.integer(0, len(options) - 1)]
