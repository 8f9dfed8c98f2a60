"""The pixels of Shapes: the same bytes, objects where their boxes are, cues where they should be and nowhere else."""

from __future__ import annotations

import dataclasses
import hashlib
import math

import numpy as np
import pytest
import torch

from scaling_lab.data.augmentation import Augmentation, augmented
from scaling_lab.data.rendering import NOISE, render
from scaling_lab.data.scenes import CONTEXT_MARGIN, GRID, NATIVE_SIZE, Light, Scene, Thing, scene
from scaling_lab.data.shapes import boxes

NATIVE = (NATIVE_SIZE, NATIVE_SIZE)


def one_white(box: tuple[int, int, int, int], shape: int = 0, texture: int | None = None) -> Scene:
    thing = Thing(box, shape=shape, texture=texture, grey=1.0)
    return Scene(Light(side=2, colour=0), (thing,), background=0.3, slope=(0.0, 0.0), noise=3)


def test_pixels_are_the_same_everywhere() -> None:
    images = render([scene(0, "train", index) for index in range(6)], 128)
    assert images.shape == (6, 3, 128, 128)
    assert images.dtype == torch.uint8
    # A change here changes every trial on Shapes: raise shapes.VERSION with it.
    assert hashlib.sha256(images.numpy().tobytes()).hexdigest()[:16] == "88b098b2cd926e14"


def test_an_image_does_not_depend_on_its_batch() -> None:
    some = [scene(0, "train", index) for index in range(8)]
    together = render(some, 96)
    for one, image in zip(some, together, strict=True):
        assert torch.equal(render([one], 96)[0], image)


@pytest.mark.parametrize("size", [64, 100, 128, 257])
@pytest.mark.parametrize("shape", [0, 1])
def test_objects_fill_their_boxes_at_any_size(size: int, shape: int) -> None:
    image = render([one_white((160, 320, 640, 720), shape)], size)[0, 1] > 0.65 * 255
    rows, columns = image.any(1).nonzero()[:, 0], image.any(0).nonzero()[:, 0]
    found = torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) * (GRID / size)
    assert (found - torch.tensor([160, 320, 640, 720])).abs().max() <= 0.7 * GRID / size
    area = image.float().mean() * GRID * GRID
    assert area == pytest.approx(480 * 400 * (np.pi / 4 if shape else 1), rel=0.03)


@pytest.mark.parametrize("seed", range(20))
def test_placed_pixels_agree_with_placed_boxes(seed: int) -> None:
    drawn = one_white((240, 320, 640, 720))
    placement = augmented(NATIVE, (120, 150), Augmentation(jitter=(0.5, 1.6)), "xy", (seed,))
    image = render([drawn], (120, 150), placements=[placement])[0, 1]
    height, width = placement.filled
    white = image[:height, :width] > 0.65 * 255
    box = placement.boxes(boxes(drawn))[0][0]
    rows, columns = white.any(1).nonzero()[:, 0], white.any(0).nonzero()[:, 0]
    found = [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]
    assert np.abs(np.array(found) - box).max() <= 0.56


def test_the_neighbourhood_of_a_small_object_does_not_tell_its_class() -> None:
    some = [scene(0, "train", index) for index in range(40)]
    swapped = [
        dataclasses.replace(one, light=dataclasses.replace(one.light, colour=1 - one.light.colour)) for one in some
    ]
    changed = (render(some, 128) != render(swapped, 128)).any(1)
    for one, change in zip(some, changed, strict=True):
        assert change.any()
        for thing in one.things:
            if thing.texture is not None:
                continue
            # Of pixels that margin and light share, the light has a part: only whole ones are looked at.
            x0, y0 = (math.ceil((side - CONTEXT_MARGIN) * 128 / GRID) for side in thing.box[:2])
            x1, y1 = (math.floor((side + CONTEXT_MARGIN) * 128 / GRID) for side in thing.box[2:])
            assert not change[y0:y1, x0:x1].any()


def test_textures_are_stripes_in_the_middle_alone() -> None:
    rows, columns = (render([one_white((160, 320, 640, 720), texture=t)], 256)[0, 1].float() for t in (0, 1))
    patch = (slice(118, 142), slice(88, 112))
    assert rows[patch].std(0).mean() > 80 > 8 > rows[patch].std(1).mean()
    assert columns[patch].std(1).mean() > 80 > 8 > columns[patch].std(0).mean()
    different = (rows != columns).nonzero()
    assert different.min(0).values.tolist() >= [118, 88]
    assert different.max(0).values.tolist() < [142, 112]


@pytest.mark.parametrize("side", range(4))
@pytest.mark.parametrize("colour", [0, 1])
def test_the_bar_is_red_or_blue_on_its_side_and_all_else_is_grey(side: int, colour: int) -> None:
    image = render([dataclasses.replace(one_white((320, 320, 640, 720)), light=Light(side, colour))], 128)[0].float()
    turned = image if side in (0, 2) else image.transpose(1, 2)
    turned = turned if side in (0, 1) else turned.flip(2)
    red, green, blue = turned[:, :, :40].mean((1, 2))
    assert (red, blue)[colour] > 1.9 * max(green, (red, blue)[1 - colour])
    rest = turned[:, :, 40:]
    assert (rest.max(0).values - rest.min(0).values).max() <= 1


def test_noise_is_low_and_differs_between_images() -> None:
    first, second = render(
        [one_white((160, 320, 640, 720)), dataclasses.replace(one_white((160, 320, 640, 720)), noise=4)], 128
    )
    corner = (0, slice(100, 120), slice(100, 120))
    assert 0 < first[corner].float().std() < NOISE * 255
    assert abs(np.corrcoef(first[corner].flatten(), second[corner].flatten())[0, 1]) < 0.2


@pytest.mark.gpu
def test_devices_agree_to_the_byte() -> None:
    some = [scene(0, "train", index) for index in range(64)]
    assert torch.equal(render(some, 128), render(some, 128, "cuda").cpu())
