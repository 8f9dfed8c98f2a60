"""The scenes of Shapes: the same everywhere, sizes log-uniform, no overlap, and only the cues decide the class."""

from __future__ import annotations

import dataclasses
import hashlib
import math

import numpy as np
import pytest

from scaling_lab.data import scenes
from scaling_lab.data.scenes import Scene, Thing, scene

COUNT = 1000


@pytest.fixture(scope="module")
def many() -> list[Scene]:
    return [scene(0, "train", index) for index in range(COUNT)]


def size(thing: Thing) -> float:
    return math.sqrt((thing.box[2] - thing.box[0]) * (thing.box[3] - thing.box[1]))


def test_scenes_are_the_same_everywhere() -> None:
    some = [scene(seed, split, index) for seed in (0, 7) for split in ("train", "val") for index in (0, 1, 4095)]
    # A change here changes every trial on Shapes: raise shapes.VERSION with it.
    assert hashlib.sha256(repr(some).encode()).hexdigest()[:16] == "66ab2a3bc8ab8847"


def test_streams_are_disjoint(many: list[Scene]) -> None:
    others = [scene(0, "val", index) for index in range(300)] + [scene(1, "train", index) for index in range(300)]
    assert len({repr(one.things) for one in many + others}) == COUNT + 600


def test_sizes_are_log_uniform_over_eight_to_one(many: list[Scene]) -> None:
    octaves = np.array([math.log2(size(thing) / scenes.SMALLEST) for one in many for thing in one.things])
    assert octaves.min() == pytest.approx(0, abs=0.01)
    assert octaves.max() == pytest.approx(3, abs=0.01)
    share = np.histogram(octaves, bins=12, range=(-0.01, 3.01))[0] / len(octaves)
    # About 250 a bin: one standard deviation is 6 % of a bin.
    assert np.abs(share * 12 - 1).max() < 0.2


def test_menus_hold_each_half_octave_equally_often() -> None:
    counts = np.bincount([half_octave for menu in scenes.MENUS for half_octave in menu])
    assert counts.tolist() == [4] * 6


def test_images_hold_two_or_four_objects_of_all_classes(many: list[Scene]) -> None:
    assert {len(one.things) for one in many} == {2, 4}
    counts = np.bincount([label for one in many for label in one.labels], minlength=8)
    # .915 of 3 octaves are small, in four classes, and the rest large, in four classes.
    small = math.log2(scenes.SMALL / scenes.SMALLEST) / 3
    assert np.abs(counts / counts.sum() / np.array([small / 4] * 4 + [(1 - small) / 4] * 4) - 1).max() < 0.2


def test_nothing_overlaps_and_all_is_inside(many: list[Scene]) -> None:
    for one in many:
        for number, thing in enumerate(one.things):
            x0, y0, x1, y1 = thing.box
            assert min(x0, y0, scenes.GRID - x1, scenes.GRID - y1) >= scenes.GAP
            for other in (other.box for other in one.things[:number]):
                assert max(x0 - other[2], other[0] - x1, y0 - other[3], other[1] - y1) >= scenes.GAP
            assert 0.74 < (x1 - x0) / (y1 - y0) < 1.35


def test_context_is_far_from_small_objects(many: list[Scene]) -> None:
    for one in many:
        left, top, right, bottom = one.light.box
        for thing in one.things:
            assert (thing.texture is None) == (size(thing) < scenes.SMALL)
            if thing.texture is None:
                x0, y0, x1, y1 = thing.box
                assert max(x0 - right, left - x1, y0 - bottom, top - y1) >= scenes.CONTEXT_MARGIN


def test_neither_the_lights_place_nor_anything_else_tells_its_colour(many: list[Scene]) -> None:
    sides = np.array([(one.light.side, one.light.colour) for one in many])
    for side in range(4):
        colours = sides[sides[:, 0] == side, 1]
        assert len(colours) > COUNT / 4 * 0.8
        assert 0.4 < colours.mean() < 0.6
    backgrounds = np.array([one.background for one in many])
    assert abs(np.corrcoef(backgrounds, sides[:, 1])[0, 1]) < 0.1
    assert abs(np.corrcoef([len(one.things) for one in many], sides[:, 1])[0, 1]) < 0.1


def test_only_the_cues_decide_the_class(many: list[Scene]) -> None:
    for one in many[:50]:
        others = dataclasses.replace(one, light=dataclasses.replace(one.light, colour=1 - one.light.colour)).labels
        for thing, before, after in zip(one.things, one.labels, others, strict=True):
            before_name, after_name = scenes.CLASS_NAMES[before], scenes.CLASS_NAMES[after]
            detail = scenes.SHAPES[thing.shape] if thing.texture is None else scenes.TEXTURES[thing.texture]
            assert before_name.split()[0] == after_name.split()[0] == detail
            assert {before_name.split()[-1], after_name.split()[-1]} == {"red", "blue"}


def test_grey_tells_nothing_about_the_class(many: list[Scene]) -> None:
    labelled = [
        (thing.grey - one.background, label)
        for one in many
        for thing, label in zip(one.things, one.labels, strict=True)
    ]
    greys, labels = np.array([grey for grey, _ in labelled]), np.array([label for _, label in labelled])
    assert np.abs(greys).min() > 0.2
    for label in range(8):
        assert abs(greys[labels == label].mean()) < 0.08
