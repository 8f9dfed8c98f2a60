"""Both heads, alike in all else or equally costly."""

from __future__ import annotations

import dataclasses

import pytest

from scaling_lab import count
from scaling_lab.study.space.enumeration import enumerate_space
from search_spaces.compound import ONE_CELL
from search_spaces.heads import space

CLASSES = 8


def test_only_the_head_differs() -> None:
    found = {point["head"]: spec for point, spec in enumerate_space(space)}
    assert found["anchors"] == ONE_CELL
    assert found["points"] == dataclasses.replace(ONE_CELL, head="points")


def test_points_are_wider_at_equal_multiply_adds() -> None:
    found = {point["head"]: spec for point, spec in enumerate_space(lambda trial: space(trial, num_classes=CLASSES))}
    costs = {head: count(dataclasses.replace(spec, num_classes=CLASSES)).gmacs for head, spec in found.items()}
    assert found["points"].width > found["anchors"].width == ONE_CELL.width
    assert costs["points"] <= costs["anchors"] == pytest.approx(costs["points"], rel=0.02)
