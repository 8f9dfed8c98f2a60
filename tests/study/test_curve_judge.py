"""Stopping by learning curves: who is stopped, who never is, and the rule in whole runs."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scaling_lab import Extrapolation, Halving, Recipe
from scaling_lab.errors import UserError
from scaling_lab.runs.reader import Runs
from scaling_lab.study.run.runner import run_study
from scaling_lab.study.search.judge import Judge
from scaling_lab.study.search.judges import make_judge
from tests.faults.afterwards import look_at_all
from tests.study.engine import Replayed, count, log, make_study, rows

RECIPE = Recipe.short(epochs=3)
FINAL = RECIPE.epochs
# AP after an epoch and at the end, and the costs, of five complete trials: about 10 more at the end.
COMPLETE = [(20, 30.1, 1), (22, 31.8, 2), (24, 34.1, 3), (26, 36.2, 4), (28, 37.8, 5)]


class Known:
    """A judge that knows some complete trials, the first as trial 0, each of its own architecture."""

    def __init__(self, complete: Any = COMPLETE, *, minimize: bool = False, **rule: Any) -> None:
        self.gmacs: dict[int, float] = {}
        self.architectures: dict[int, str] = {}
        self.sign = -1 if minimize else 1
        objectives = {"ap": "minimize" if minimize else "maximize", "gmacs": "minimize"}
        study = make_study(
            recipe=RECIPE, objectives=objectives, stopping=Extrapolation(min_epochs=1, **rule), seeds=(0, 1)
        )

        def values(trial: int, metrics: Mapping[str, Any]) -> list[Any]:
            return [metrics.get("ap"), self.gmacs[trial]]

        self.judge: Judge = make_judge(study, values, lambda trial: self.architectures[trial])
        for trial, (early, final, gmacs) in enumerate(complete):
            self.gmacs[trial], self.architectures[trial] = gmacs, str(trial)
            assert self.note(trial, 1, early)
            assert not self.note(trial, FINAL, final)

    def note(self, trial: int, epoch: int, ap: float | None) -> bool:
        return self.judge.note(trial, epoch, {"ap": None if ap is None else self.sign * ap})

    def goes_on(self, ap: float, gmacs: float, architecture: str = "new") -> bool:
        """Say whether a new trial goes on after its first epoch."""
        self.gmacs[99], self.architectures[99] = gmacs, architecture
        assert self.note(99, 1, ap)
        return self.judge.goes_on(99, 1)


@pytest.mark.parametrize("minimize", [False, True])
def test_who_falls_short_of_the_front_is_stopped(minimize: bool) -> None:
    known = Known(minimize=minimize)
    assert not known.goes_on(20, 5)  # will have about 30, and 37.8 cost as much
    assert known.goes_on(28, 5)
    assert known.goes_on(20, 1)  # as good as the only one that costs no more
    assert not known.goes_on(15, 1)


def test_who_costs_less_than_all_goes_on() -> None:
    assert Known().goes_on(1, 0.5)


def test_few_complete_trials_stop_no_one() -> None:
    assert Known(COMPLETE[:4]).goes_on(1, 5)
    assert not Known(COMPLETE[:4], least=4).goes_on(1, 5)


def test_further_seeds_of_a_complete_architecture_are_not_stopped() -> None:
    assert not Known().goes_on(10, 5)
    assert Known().goes_on(10, 5, architecture="0")


def test_a_smaller_chance_stops_fewer() -> None:
    unsure = [(20, 25.0, 1), (22, 35.0, 2), (24, 28.0, 3), (26, 40.0, 4), (28, 33.0, 5)]
    assert Known(unsure, chance=0.01).goes_on(21, 5)
    assert not Known(unsure, chance=0.4).goes_on(21, 5)


@pytest.mark.parametrize("ap", [None, math.nan, math.inf])
def test_a_trial_without_a_value_is_not_judged_and_tells_nothing(ap: float | None) -> None:
    known = Known(COMPLETE[:4])
    known.gmacs[4], known.architectures[4] = 5, "4"
    assert not known.note(4, 1, ap)
    assert not known.note(4, FINAL, ap)
    assert known.goes_on(1, 5)


def test_the_epochs_of_the_rule_are_the_evaluated_ones() -> None:
    assert Extrapolation(min_epochs=4).epochs(Recipe.short(epochs=10, eval_every=2)) == (4, 6, 8)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"chance": 0}, "stopping.chance is 0"),
        ({"chance": 1.0}, "stopping.chance is 1.0"),
        ({"least": 2}, "stopping.least is 2"),
        ({"min_epochs": 0}, "stopping.min_epochs is 0"),
    ],
)
def test_what_the_rule_does_not_take(changes: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        Extrapolation(**{"min_epochs": 1, **changes})


def test_it_judges_one_evaluated_objective_alone() -> None:
    both = {"ap": "maximize", "ap_small": "maximize"}
    with pytest.raises(UserError, match="objectives ap, ap_small; allowed is one of ap,"):
        make_study(recipe=RECIPE, objectives=both, stopping=Extrapolation(min_epochs=1))
    make_study(recipe=RECIPE, objectives=both, stopping=Halving(min_epochs=1))


# --- whole runs: after an epoch the six have 17.5, 33.5, 17.5, 33.5, 17.8 and 33.8 AP, and 2 more at the end ---------


def _run(out: Path) -> list[str]:
    study = make_study(objectives={"ap": "maximize"}, stopping=Extrapolation(min_epochs=1, least=3))
    run_study(study, out=out, executor="local", count=count, objective=Replayed(), stream=None)
    return [row["state"] for row in rows(out)]


def test_a_run_stops_what_would_not_be_the_best(tmp_path: Path) -> None:
    """The first three make the line; the fourth will be as good as the best."""
    assert _run(tmp_path) == [*["complete"] * 4, "stopped", "complete"]
    assert [row["epochs_done"] for row in rows(tmp_path)] == [3, 3, 3, 3, 1, 3]
    assert [line.split(maxsplit=1)[1] for line in log(tmp_path / "trials" / "5")] == ["start at 0", "epoch 1"]
    assert Runs(tmp_path).meta["stopping"] == {"min_epochs": 1, "chance": 0.1, "least": 3}
    look_at_all(tmp_path)


def test_a_killed_run_judges_with_all_that_it_knew(tmp_path: Path) -> None:
    """The fifth was killed between verdict and end. Forgetting the others, it would go on."""
    states = _run(tmp_path)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("UPDATE trials SET state = 'running' WHERE id = 5")
    connection.close()
    (tmp_path / "trials" / "5" / "checkpoint.pt").write_text("1")
    assert _run(tmp_path) == states
    assert len(log(tmp_path / "trials" / "5")) == 2
    look_at_all(tmp_path)
