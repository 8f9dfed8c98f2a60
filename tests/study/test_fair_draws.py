"""Fair draws of a search space: each choice equally often, and the same again from a state."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest
from optuna import TrialPruned

from scaling_lab import DetectorSpec, topologies
from scaling_lab.errors import UserError
from scaling_lab.study.space.fair_draws import FairDraws
from search_spaces.compound import SMALL
from search_spaces.topology import space as published

BASE = SMALL.base


def conditional(trial: Any) -> DetectorSpec:
    repeats = trial.suggest_int("repeats", 1, 3)
    width = trial.suggest_categorical("width", [16, 32] if repeats == 1 else [8])
    if repeats == 3:
        raise TrialPruned
    return dataclasses.replace(BASE, repeats=repeats, width=width, head_repeats=round(trial.suggest_float("h", 1, 4)))


def test_each_choice_comes_equally_often_even_where_points_are_pruned() -> None:
    paths = FairDraws(conditional, seed=0)
    drawn = [paths.draw() for _ in range(80)]
    repeats = Counter(spec.repeats for spec in drawn)
    assert abs(repeats[1] - repeats[2]) <= 1
    widths = Counter(spec.width for spec in drawn if spec.repeats == 1)
    assert abs(widths[16] - widths[32]) <= 1
    assert {spec.head_repeats for spec in drawn} == {1, 2, 3, 4}


def test_a_choice_under_a_condition_does_not_make_the_condition_more_frequent() -> None:
    paths = FairDraws(published, seed=0)
    drawn = Counter(paths.draw().topology.with_fusion("sum") for _ in range(4 * 8))
    assert drawn[topologies.none(3, 7, fusion="sum")] == 4  # all points: one in 22


def test_it_continues_from_a_state_and_differs_by_seed() -> None:
    paths, other = FairDraws(published, seed=0), FairDraws(published, seed=1)
    first = [paths.draw() for _ in range(7)]
    assert first != [other.draw() for _ in range(7)]
    state = paths.state()
    expected = [paths.draw() for _ in range(9)]
    again = FairDraws(published, seed=0)
    again.restore(state)
    assert [again.draw() for _ in range(9)] == expected


def test_a_space_that_prunes_every_point_is_refused() -> None:
    def none(trial: Any) -> DetectorSpec:
        raise TrialPruned

    with pytest.raises(UserError, match="pruned 1000 points in a row"):
        FairDraws(none, seed=0).draw()
