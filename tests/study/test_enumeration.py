"""The grid of a space: every point once, in order, conditional ones too."""

from __future__ import annotations

import itertools
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_lab import DetectorSpec, topologies
from scaling_lab.errors import UserError
from scaling_lab.study.space import enumeration
from scaling_lab.study.space.enumeration import enumerate_space
from tests.study.engine import space, spec

ANY = spec(topologies.none(3, 7))


def points(function: Any) -> list[dict[str, Any]]:
    return [params for params, _ in enumerate_space(function)]


def test_product_in_the_order_of_suggestion() -> None:
    found = list(enumerate_space(space))
    names, widths = ("none", "fpn", "bifpn"), (16, 32)
    assert [params for params, _ in found] == [
        {"topology": name, "width": width} for name, width in itertools.product(names, widths)
    ]
    assert [spec.width for _, spec in found] == [16, 32] * 3


def test_conditional_parameters_are_branches_of_their_own() -> None:
    def conditional(trial: Any) -> DetectorSpec:
        if trial.suggest_categorical("kind", ["plain", "fused"]) == "fused" and trial.suggest_int("repeats", 1, 2) == 2:
            trial.suggest_categorical("fusion", ["sum", "fast"])
        return ANY

    assert points(conditional) == [
        {"kind": "plain"},
        {"kind": "fused", "repeats": 1},
        {"kind": "fused", "repeats": 2, "fusion": "sum"},
        {"kind": "fused", "repeats": 2, "fusion": "fast"},
    ]


def test_a_float_with_a_step_and_a_name_that_is_asked_for_twice() -> None:
    def stepped(trial: Any) -> DetectorSpec:
        assert trial.suggest_float("factor", 0.1, 0.5, step=0.2) == trial.suggest_float("factor", 0.1, 0.5, step=0.2)
        return ANY

    assert points(stepped) == [{"factor": 0.1}, {"factor": 0.3}, {"factor": 0.5}]


def test_a_space_without_parameters_has_one_point() -> None:
    assert points(lambda trial: ANY) == [{}]


def test_points_that_the_space_refuses_are_left_out() -> None:
    def refusing(trial: Any) -> DetectorSpec:
        if trial.suggest_int("a", 0, 2) == 1:
            raise optuna.TrialPruned
        return ANY

    assert points(refusing) == [{"a": 0}, {"a": 2}]


def test_a_continuous_parameter_is_refused() -> None:
    with pytest.raises(UserError, match="a grid needs finitely many points, but 'lr' is continuous"):
        points(lambda trial: trial.suggest_float("lr", 0.0, 1.0))


def test_too_many_points_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enumeration, "MOST_POINTS", 5)
    with pytest.raises(UserError, match="more than 5 points"):
        points(space)


@given(st.lists(st.integers(1, 4), max_size=5))
def test_every_product_is_enumerated_whole(sizes: list[int]) -> None:
    def product(trial: Any) -> DetectorSpec:
        for place, size in enumerate(sizes):
            trial.suggest_int(f"p{place}", 0, size - 1)
        return ANY

    expected = [
        dict(zip([f"p{i}" for i in range(len(sizes))], values, strict=True))
        for values in itertools.product(*map(range, sizes))
    ]
    assert points(product) == expected
