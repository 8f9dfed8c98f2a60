"""Who goes on at a rung: the rule by examples, and its properties on any results."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_lab import Recipe
from scaling_lab.errors import UserError
from scaling_lab.stats.fronts import crowding_distances
from scaling_lab.study import Halving
from scaling_lab.study.search.rungs import Rung, RungJudge
from tests.study.engine import make_study

# Few values, so that many are equal.
POINTS = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.tuples(*[st.integers(0, 5).map(float)] * width), min_size=1, max_size=25)
)


def judged(points: Any, factor: int = 3) -> list[bool]:
    """Say of each point whether it went on when it came."""
    rung, found = Rung(factor), []
    for trial, point in enumerate(points):
        rung.note(trial, point)
        found.append(rung.goes_on(trial))
    return found


def test_one_objective_by_value() -> None:
    # Of 3, 4 and 5 the best goes on, of 6 the best two; the first two pass unjudged.
    assert judged([[5], [4], [3], [4.5], [4], [3.5], [2.9]]) == [True, True, True, False, False, True, True]


def test_equal_values_pass_together() -> None:
    assert judged([[1]] * 6) == [True] * 6
    assert judged([[2], [1], [1], [2]]) == [True, True, True, False]


def test_a_factor_of_two() -> None:
    assert judged([[3], [4], [2], [5]], factor=2) == [True, False, True, False]


@pytest.mark.parametrize(
    ("trials", "min_epochs", "factor"), [(7, 1, 2), pytest.param(40, 2, 3, marks=pytest.mark.slow)]
)
def test_expected_epochs_are_those_of_many_random_searches(trials: int, min_epochs: int, factor: int) -> None:
    rule, chance = Halving(min_epochs=min_epochs, factor=factor), np.random.default_rng(0)
    epochs, taken = 27, []
    for _ in range(200):
        values = [[each] for each in chance.random(trials)]
        before, total = 0, 0
        for rung in rule.rungs(epochs):
            total += len(values) * (rung - before)
            passes, before = judged(values, factor), rung
            # Who is good at one rung need not be so at the next.
            values = [[each] for each in chance.random(sum(passes))]
        taken.append((total + len(values) * (epochs - before)) / trials)
    assert rule.expected_epochs(trials, epochs=epochs) == pytest.approx(np.mean(taken), rel=0.05)


def test_two_objectives_by_front() -> None:
    """
    cost
      4 | a . . . d      a, b, c: the front, and d behind a and b; e behind b alone.
      3 | . . . . .
      2 | . b . e .
      1 | . . . . c
        +-----------     the error
    """
    a, b, c, d, e = [1, 4], [2, 2], [5, 1], [5, 4], [4, 2]
    assert judged([a, b, c, d]) == [True, True, True, False]
    # On a front of three of 5 there is no room for the second; a front of one in six leaves room for one of the second.
    assert judged([a, b, c, d, e])[-1] is False
    assert judged([[1, 1], [9, 9], [9, 9], [9, 9], [9, 9], [2, 2]])[-1] is True


def test_within_a_front_the_lonelier_go_on() -> None:
    """One leads, one place is left, and the second front has four: its ends before its middle."""
    first = [[0.0, 0.0], [9.0, 9.0]]
    second = [[1.0, 5.0], [4.8, 1.2], [5.0, 1.0]]
    assert judged([*first, *second, [2.0, 3.0]])[-1] is False
    assert judged([*first, [2.0, 3.0], [4.8, 1.2], [5.0, 1.0], [1.0, 5.0]])[-1] is True


@given(POINTS, st.integers(2, 4))
def test_what_nothing_dominates_goes_on(points: list[tuple[float, ...]], factor: int) -> None:
    for count, went_on in enumerate(judged(points, factor), start=1):
        new, others = points[count - 1], points[: count - 1]
        if count < factor or not any(_dominates(other, new) for other in others):
            assert went_on


@given(POINTS, st.integers(2, 4))
def test_no_more_go_on_than_there_are_places_and_who_is_as_good(points: list[tuple[float, ...]], factor: int) -> None:
    """Where a dominated one goes on, fewer than n / factor dominate it; where one is stopped, it is dominated."""
    for count, went_on in enumerate(judged(points, factor), start=1):
        better = sum(_dominates(other, points[count - 1]) for other in points[: count - 1])
        if count >= factor and went_on and better:
            assert better < count // factor
        if not went_on:
            assert better


@given(POINTS, st.randoms(use_true_random=False))
def test_fronts_do_not_depend_on_the_order_and_are_those_that_peeling_gives(
    points: list[tuple[float, ...]], chance: Any
) -> None:
    order = list(range(len(points)))
    chance.shuffle(order)
    rung, shuffled = Rung(2), Rung(2)
    for trial in range(len(points)):
        rung.note(trial, points[trial])
        shuffled.note(order[trial], points[order[trial]])
    assert [rung.goes_on(trial) for trial in order] == [shuffled.goes_on(trial) for trial in order]
    assert [rung.front(trial) for trial in range(len(points))] == _peeled(points)


@given(POINTS, st.integers(2, 4))
def test_who_goes_on_is_whom_the_rule_names(points: list[tuple[float, ...]], factor: int) -> None:
    assert judged(points, factor) == [_goes_on(points[:count], factor) for count in range(1, len(points) + 1)]


@pytest.mark.parametrize("objectives", [1, 2, 3])
@pytest.mark.parametrize("trend", [-0.1, 0.0, 0.1])
def test_the_same_with_many_results(objectives: int, trend: float) -> None:
    """Without a trend, and with results that get better or worse, so that whole fronts move."""
    chance = np.random.default_rng(0)
    points = [tuple((chance.random(objectives) + trend * i).tolist()) for i in range(60)]
    assert judged(points)[50:] == [_goes_on(points[:count], 3) for count in range(51, 61)]


@given(POINTS, st.data())
def test_a_result_that_is_told_again_replaces_the_first(points: list[tuple[float, ...]], data: Any) -> None:
    rung, fresh = Rung(3), Rung(3)
    for trial, point in enumerate(points):
        rung.note(trial, point)
    changed = data.draw(st.integers(0, len(points) - 1))
    new = [*points[:changed], data.draw(st.sampled_from(points)), *points[changed + 1 :]]
    rung.note(changed, new[changed])
    for trial, point in enumerate(new):
        fresh.note(trial, point)
    trials = range(len(points))
    assert [rung.goes_on(trial) for trial in trials] == [fresh.goes_on(trial) for trial in trials]


def _dominates(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return first != second and all(a <= b for a, b in zip(first, second, strict=True))


def _peeled(points: list[tuple[float, ...]]) -> list[int]:
    fronts: dict[int, int] = {}
    for front in itertools.count():
        left = [i for i in range(len(points)) if i not in fronts]
        if not left:
            return [fronts[i] for i in range(len(points))]
        fronts |= {i: front for i in left if not any(_dominates(points[j], points[i]) for j in left)}
    raise AssertionError


def _goes_on(points: list[tuple[float, ...]], factor: int) -> bool:
    """The rule's words in halving.py, for the last of the points."""
    fronts, most = _peeled(points), len(points) // factor
    if most == 0 or fronts[-1] == 0:
        return True
    own = [point for point, front in zip(points, fronts, strict=True) if front == fronts[-1]]
    crowding = crowding_distances(np.array(own))
    lonelier = sum(distance > crowding[-1] for distance in crowding)
    return bool(sum(front < fronts[-1] for front in fronts) + lonelier < most)


# --- a study's rule --------------------------------------------------------------------------------------------------


def test_rungs_lie_below_the_last_epoch() -> None:
    assert Halving(min_epochs=2, factor=3).rungs(20) == (2, 6, 18)
    assert Halving(min_epochs=2, factor=3).rungs(18) == (2, 6)
    assert Halving(min_epochs=1, factor=2).rungs(9) == (1, 2, 4, 8)


def test_a_judge_reads_directions_and_leaves_out_what_has_no_value() -> None:
    rule = Halving(min_epochs=2, factor=2)
    study = make_study(recipe=Recipe.short(epochs=9), objectives={"ap": "maximize"}, stopping=rule)
    judge = RungJudge(study, rule, lambda trial, metrics: [metrics.get("ap")])
    assert judge.epochs == (2, 4, 8)
    assert not judge.note(1, 1, {"ap": 9.0})
    assert not judge.note(1, 2, {"ap": None})
    assert not judge.note(1, 2, {"ap": math.nan})
    assert not judge.note(1, 2, {})
    assert judge.note(1, 2, {"ap": 5.0})
    assert judge.goes_on(1, 2)
    assert judge.note(2, 2, {"ap": 4.0})
    assert not judge.goes_on(2, 2)
    assert judge.note(3, 2, {"ap": 6.0})
    assert judge.goes_on(3, 2)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"min_epochs": 0}, "stopping.min_epochs is 0; allowed are whole numbers from 1"),
        ({"min_epochs": 1.5}, "stopping.min_epochs is 1.5; allowed are whole numbers from 1"),
        ({"min_epochs": 1, "factor": 1}, "stopping.factor is 1; allowed are whole numbers from 2"),
        ({"min_epoch": 1}, "Halving has no field 'min_epoch' (did you mean 'min_epochs'?)"),
    ],
)
def test_a_rule_that_makes_no_sense(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        Halving(**settings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stopping": 3}, "stopping is 3; allowed are None, Halving(min_epochs=..., factor=3) and Extrapolation"),
        (
            {"stopping": Halving(min_epochs=3)},
            "stopping.min_epochs is 3; allowed are whole numbers below recipe.epochs, which is 3",
        ),
        (
            {"stopping": Halving(min_epochs=3), "recipe": Recipe.short(epochs=9, eval_every=2)},
            "stopping.min_epochs is 3; allowed are multiples of recipe.eval_every, which is 2",
        ),
        (
            {"stopping": Halving(min_epochs=1), "objectives": {"gmacs": "minimize"}},
            "the objectives, gmacs, are known before a trial; stopping needs one of ap, ap50",
        ),
        (
            {"stopping": Halving(min_epochs=1), "forms": {"smoke": {"recipe": Recipe.short(epochs=1)}}},
            "form 'smoke': stopping.min_epochs is 1; allowed are whole numbers below recipe.epochs, which is 1 "
            "(stopping=None trains every trial to the end)",
        ),
    ],
)
def test_a_study_that_its_rule_does_not_fit(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        make_study(**changes)


def test_a_form_may_go_without() -> None:
    smoke = {"recipe": Recipe.short(epochs=1), "stopping": None}
    study = make_study(stopping=Halving(min_epochs=1), forms={"smoke": smoke})
    assert study.form("smoke").stopping is None
    assert study.to_dict()["stopping"] == {"min_epochs": 1, "factor": 3}
