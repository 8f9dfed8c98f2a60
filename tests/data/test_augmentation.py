"""Placing an image: pixels and boxes go the same way, whatever the scale, crop and mirror."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from scaling_lab.data.augmentation import Augmentation, Placement, augmented, letterbox
from scaling_lab.errors import UserError


def white_rectangle(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    image = Image.new("RGB", (size[1], size[0]))
    image.paste((255, 255, 255), box)
    return image


def found_box(pixels: np.ndarray) -> list[int]:
    rows, columns = (np.flatnonzero((pixels[:, :, 0] > 127).any(axis)) for axis in (1, 0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@pytest.mark.parametrize("jitter", [(1.0, 1.0), (0.3, 0.9), (1.1, 2.5)])
@pytest.mark.parametrize("size", [(97, 160), (200, 131), (64, 64)])
@pytest.mark.parametrize("mirrors", ["x", "xy"])
def test_the_box_encloses_the_pixels(jitter: tuple[float, float], size: tuple[int, int], mirrors: str) -> None:
    box = (size[1] // 4, size[0] // 5, size[1] // 4 + 40, size[0] // 5 + 30)
    image = white_rectangle(size, box)
    mirrored = set()
    for seed in range(12):
        placement = augmented(size, (120, 150), Augmentation(jitter=jitter), mirrors, (seed,))
        pixels = placement.pixels(image)
        assert pixels.shape == (*placement.filled, 3)
        boxes, kept = placement.boxes(np.array([box], dtype=np.float32))
        if kept[0]:
            # Half a pixel for the grid, and what a smooth edge moves where white meets the image's border.
            assert np.abs(found_box(pixels) - boxes[0]).max() <= 0.8
        mirrored.add((placement.mirror_x, placement.mirror_y))
    assert len(mirrored) == (2 if mirrors == "x" else 4)


def test_letterbox_keeps_the_aspect_and_stands_top_left() -> None:
    placement = letterbox((100, 200), (128, 128))
    assert placement == Placement(original=(100, 200), scale=0.64, filled=(64, 128))
    boxes, kept = placement.boxes(np.array([[0, 0, 200, 100], [50, 25, 100, 75]], dtype=np.float32))
    assert boxes.tolist() == [[0, 0, 128, 64], [32, 16, 64, 48]]
    assert kept.all()


def test_an_image_of_the_right_size_is_not_resampled() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    assert (letterbox((40, 60), (40, 60)).pixels(Image.fromarray(pixels)) == pixels).all()
    mirrored = Placement(original=(40, 60), scale=1.0, filled=(40, 60), mirror_x=True, mirror_y=True)
    assert (mirrored.pixels(Image.fromarray(pixels)) == pixels[::-1, ::-1]).all()


def test_slivers_are_dropped() -> None:
    placement = Placement(original=(100, 100), scale=2.0, offset=(100, 0), filled=(100, 100))
    inside, half, sliver, outside = [60, 10, 80, 30], [40, 10, 60, 30], [20, 10, 52, 30], [0, 0, 40, 40]
    boxes, kept = placement.boxes(np.array([inside, half, sliver, outside], dtype=np.float32))
    assert kept.tolist() == [True, True, False, False]
    assert boxes[1].tolist() == [0, 20, 20, 60]


def test_the_scale_covers_the_range() -> None:
    scales = [augmented((50, 50), (100, 100), Augmentation(jitter=(0.5, 1.5)), "x", (s,)).scale / 2 for s in range(200)]
    assert 0.5 <= min(scales) < 0.53
    assert 1.47 < max(scales) <= 1.5
    assert np.mean(scales) == pytest.approx(1.0, abs=0.06)


def test_without_flip_and_jitter_nothing_happens() -> None:
    for seed in range(10):
        assert augmented((50, 80), (64, 64), Augmentation(flip=False), "xy", (seed,)) == letterbox((50, 80), (64, 64))


@pytest.mark.parametrize("jitter", [(0, 1), (2, 1), (1,), (-1, 2)])
def test_a_wrong_jitter_is_named(jitter: tuple[float, float]) -> None:
    with pytest.raises(UserError, match=r"jitter is .*; allowed are two numbers, 0 < low <= high"):
        Augmentation(jitter=jitter)
