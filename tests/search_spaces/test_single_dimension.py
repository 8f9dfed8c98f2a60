"""Compound scaling beside each dimension alone: one start, budgets that are spent, one dimension that changes."""

from __future__ import annotations

import dataclasses

import pytest

from scaling_lab import count
from scaling_lab.study.space.enumeration import enumerate_space
from search_spaces.single_dimension import DIMENSIONS, START, space

FIELDS = {"image_size": "image_size", "width": "width", "depth": "repeats", "heads": "head_repeats"}
POINTS = [(point["dimension"], point["times_gmacs"], spec) for point, spec in enumerate_space(space)]


def test_compound_scaling_has_every_budget_and_each_dimension_those_of_its_own() -> None:
    found = {name: [times for dimension, times, _ in POINTS if dimension == name] for name in DIMENSIONS}
    assert found == {
        "compound": [1.0, 1.2, 1.5, 1.8, 2.2],
        **{name: [1.5, 2.2] for name in DIMENSIONS if name != "compound"},
    }
    assert next(spec for dimension, times, spec in POINTS if (dimension, times) == ("compound", 1.0)) == START.base


@pytest.mark.parametrize(("dimension", "times"), [(dimension, times) for dimension, times, _ in POINTS])
def test_a_budget_is_spent(dimension: str, times: float) -> None:
    spec = next(spec for name, budget, spec in POINTS if (name, budget) == (dimension, times))
    assert count(spec).gmacs / count(START.base).gmacs == pytest.approx(times, rel=0.08)
    assert count(spec).gmacs <= times * count(START.base).gmacs + 1e-9


@pytest.mark.parametrize("dimension", FIELDS)
def test_one_dimension_changes(dimension: str) -> None:
    for name, _, spec in POINTS:
        if name == dimension:
            field = FIELDS[dimension]
            assert getattr(spec, field) != getattr(START.base, field)
            assert dataclasses.replace(spec, **{field: getattr(START.base, field)}) == START.base
