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
    assert hashlib.sha256(repr(some).encode()).hexdigest()[:16] == "c6b8c94265ab2e24"


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


def test_images_hold_two_to_five_objects_of_all_classes(many: list[Scene]) -> None:
    assert {len(one.things) for one in many} == {2, 3, 5}
    counts = np.bincount([label for one in many for label in one.labels], minlength=8)
    # A third of the objects are small, in four classes, and two thirds large, in four classes.
    assert np.abs(counts / counts.sum() / np.array([1 / 12] * 4 + [1 / 6] * 4) - 1).max() < 0.2


def test_nothing_overlaps_and_all_stands_in_its_panel(many: list[Scene]) -> None:
    for one in many:
        for number, thing in enumerate(one.things):
            x0, y0, x1, y1 = thing.box
            for other in one.things[:number]:
                apart = (x0 - other.box[2], other.box[0] - x1, y0 - other.box[3], other.box[1] - y1)
                assert max(apart) >= scenes.GAP
            left, top, right, bottom = one.panels[thing.panel].box
            assert min(x0 - left, y0 - top, right - x1, bottom - y1) >= scenes.FRAME + scenes.GAP
            assert 0.74 < (x1 - x0) / (y1 - y0) < 1.35


def test_context_is_far_from_small_objects(many: list[Scene]) -> None:
    for one in many:
        for thing in one.things:
            assert (thing.texture is None) == (size(thing) < scenes.SMALL)
            if thing.texture is None:
                left, top, right, bottom = one.panels[thing.panel].box
                x0, y0, x1, y1 = thing.box
                assert min(x0 - left, y0 - top, right - x1, bottom - y1) >= scenes.FRAME + scenes.CONTEXT_MARGIN


def test_context_is_local_to_the_panel(many: list[Scene]) -> None:
    # Where an image has one colour of frame, or the small objects always stand in the wider panel, the class could be
    # told from the image as a whole: that may happen, but not be the rule.
    small = [(one, thing) for one in many for thing in one.things if thing.texture is None]
    in_two = [(one, thing) for one, thing in small if len(one.panels) == 2]
    assert all({panel.colour for panel in one.panels} == {0, 1} for one, _ in in_two)
    assert len(in_two) > 0.65 * len(small)
    colours = [one.panels[thing.panel].colour for one, thing in small]
    assert 0.4 < np.mean(colours) < 0.6


def test_only_the_cues_decide_the_class(many: list[Scene]) -> None:
    for one in many[:50]:
        swapped = tuple(dataclasses.replace(panel, colour=1 - panel.colour) for panel in one.panels)
        others = dataclasses.replace(one, panels=swapped).labels
        for thing, before, after in zip(one.things, one.labels, others, strict=True):
            before_name, after_name = scenes.CLASS_NAMES[before], scenes.CLASS_NAMES[after]
            if thing.texture is None:
                assert {before_name.split()[-1], after_name.split()[-1]} == {"red", "blue"}
                assert before_name.split()[0] == after_name.split()[0] == scenes.SHAPES[thing.shape]
            else:
                assert before == after
                assert before_name == f"{scenes.SHAPES[thing.shape]} with {scenes.TEXTURES[thing.texture]}"


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
