"""A plan against what really happens: the same counts as a run's, nothing written, and what cannot work said."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from scaling_lab import Coco, DetectorSpec, Finalists, Halving, Recipe, Shapes, topologies
from scaling_lab.errors import UserError
from scaling_lab.machine import cores
from scaling_lab.runs.reader import Runs
from scaling_lab.study.plan import planner
from scaling_lab.study.plan.outlook import Detectable, Plan, Reading
from scaling_lab.study.plan.planner import make_plan
from scaling_lab.study.run.runner import run_study
from scaling_lab.study.search import proposals
from scaling_lab.training import rehearsal
from tests.coco_files import write_coco
from tests.study.engine import Replayed, count, make_study, spec


def wide(trial: Any) -> DetectorSpec:
    """Twelve points, six architectures: the mirror changes nothing."""
    topology = getattr(topologies, trial.suggest_categorical("topology", ["none", "fpn"]))
    trial.suggest_categorical("mirror", [False, True])
    return spec(topology(3, 7), width=trial.suggest_int("width", 8, 24, step=8))


def continuous(trial: Any) -> DetectorSpec:
    if trial.suggest_float("share", 0.0, 1.0) < 0.5:
        raise optuna.TrialPruned
    return spec(topologies.fpn(3, 7), width=8 * trial.suggest_int("width", 1, 4))


def plan(out: Path, *, measure: bool = False, **changes: Any) -> Plan:
    options = {name: changes.pop(name) for name in ("address", "cpus", "gpus", "points") if name in changes}
    return make_plan(make_study(**changes), out=out, count=count, measure=measure, **options)


def run(out: Path, **changes: Any) -> Runs:
    run_study(make_study(**changes), out=out, executor="local", objective=Replayed(), count=count, stream=None)
    return Runs(out)


# --- the space and the trials ----------------------------------------------------------------------------------------


def test_a_grid_is_counted_exactly_and_nothing_is_written(tmp_path: Path) -> None:
    found = plan(tmp_path / "run", space=wide, seeds=(0, 1), recipe=Recipe.short(epochs=3, batch_size=8))
    assert (found.space.points, found.space.architectures, found.space.is_exact) == (12, 6, True)
    assert (found.trials.trials, found.trials.left, found.trials.architectures, found.trials.seeds) == (12, 12, 6, 2)
    # 16 images in batches of 8, for 3 epochs.
    assert (found.trials.steps_per_epoch, found.trials.images_seen) == (2, 12 * 3 * 16)
    assert found.space.ranges["params_m"] == (0.008, 0.024)
    assert (found.problems, found.earlier, found.time) == ((), None, None)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"limits": {"gmacs": 1.2}}, marks=pytest.mark.slow),
        {"limits": {"gmacs": 2.0, "params_m": 0.02}},
        {"space": wide, "limits": {"params_m": 0.01}, "seeds": (0, 1)},
        pytest.param({"space": wide, "sampler": "random", "trials": 99, "seeds": (0, 1)}, marks=pytest.mark.slow),
        {"space": wide, "sampler": "tpe", "trials": 5},
        pytest.param({"trials": 4}, marks=pytest.mark.slow),
        pytest.param({"finalists": Finalists(count=2, seeds=(7, 8))}, marks=pytest.mark.slow),
        {"finalists": Finalists(count=9, seeds=(7,)), "limits": {"gmacs": 1.0}},
    ],
)
def test_a_run_has_the_trials_and_rejections_that_the_plan_says(
    tmp_path: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals, "MOST_FUTILE", 60)  # the search that finds no more is to give up sooner
    found = plan(tmp_path / "run", **changes)
    runs = run(tmp_path / "run", **changes)
    assert len(runs.table()) == found.trials.trials + found.trials.finalists == found.trials.left
    assert plan(tmp_path / "run", **changes).trials.left == 0
    if changes.get("sampler", "grid") == "grid":
        rejected = set(runs.rejections()["architecture"])
        assert len(rejected) == sum(found.space.rejected.values())
        assert len(found.space.within) + len(rejected) == found.space.architectures


def test_rejections_are_counted_by_the_limits_that_are_broken(tmp_path: Path) -> None:
    # gmacs are width x 0.06 for none and fpn, width x 0.09 for bifpn; params_m are width / 1000.
    found = plan(tmp_path, limits={"gmacs": 1.2, "params_m": 0.02})
    assert found.space.rejected == {"gmacs": 1, "gmacs and params_m": 3}
    assert [each.known["gmacs"] for each in found.space.within] == [0.96, 0.96]
    assert found.space.ranges_within == {
        "params_m": (0.016, 0.016), "gmacs": (0.96, 0.96), "activations_m": (0.0, 0.0), "memory_mb": (1.6, 1.6)
    }  # fmt: skip
    assert found.space.ranges == {
        "params_m": (0.016, 0.032), "gmacs": (0.96, 2.88), "activations_m": (0.0, 0.0), "memory_mb": (1.6, 3.2)
    }  # fmt: skip
    assert plan(tmp_path, limits={"gmacs": 2.0, "params_m": 0.02}).space.rejected == {
        "params_m": 2,
        "gmacs and params_m": 1,
    }


def test_limits_that_admit_nothing_are_a_problem(tmp_path: Path) -> None:
    found = plan(tmp_path, limits={"gmacs": 0.001})
    assert found.problems == ("no point is within the limits: the least gmacs is 0.96, the limit 0.001",)
    assert (found.trials.trials, found.disk) == (0, None)


def test_a_large_space_is_drawn_from(tmp_path: Path) -> None:
    changes = {"space": continuous, "sampler": "tpe", "trials": 7, "limits": {"params_m": 0.024}}
    found = plan(tmp_path, points=40, **changes)
    assert not found.space.is_exact
    assert found.space.points + found.space.pruned == 40
    assert 5 < found.space.points < 35
    assert found.space.architectures == 4
    assert found.space.rejected == {"params_m": 1}
    assert (found.trials.trials, found.trials.architectures) == (7, None)
    assert found.space == plan(tmp_path, points=40, **changes).space


def test_a_limit_of_latency_is_judged_by_trials_alone(tmp_path: Path) -> None:
    found = plan(tmp_path, limits={"latency_ms": 1.0, "gmacs": 1.0})
    assert found.space.rejected == {"gmacs": 4}
    assert "rejections by the limit on latency_ms are unknown until trials measure it" in found.notes
    assert plan(tmp_path, limits={"latency_ms": 1.0, "gmacs": 0.1}).problems == (
        "no point is within the limits: the least gmacs is 0.96, the limit 0.1",
    )


def test_a_search_in_a_small_space_says_where_it_ends(tmp_path: Path) -> None:
    found = plan(tmp_path, space=wide, sampler="random", trials=99, seeds=(0, 1))
    assert found.space.is_exact
    assert found.trials.trials == 12
    assert found.notes[0].startswith("the search ends with 12 trials of 99")


# --- an earlier run --------------------------------------------------------------------------------------------------


def test_an_earlier_run_leaves_the_rest_and_tells_the_spread(tmp_path: Path) -> None:
    run(tmp_path, seeds=(0, 1), trials=8)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    found = plan(tmp_path, seeds=(0, 1))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == files
    assert found.earlier is not None
    assert found.earlier.states == {"complete": 8}
    assert (found.trials.trials, found.trials.left) == (12, 4)
    # Two seeds of two architectures, whose APs differ by 1.
    assert (found.earlier.sd, found.earlier.degrees) == (pytest.approx(math.sqrt(0.5)), 2)
    assert found.detectable.sds is not None
    assert found.detectable.ap == pytest.approx(found.detectable.sds * math.sqrt(0.5))
    assert plan(tmp_path, seeds=(0, 1), trials=8).trials.left == 0


def test_a_search_that_was_begun_has_the_rest_left(tmp_path: Path) -> None:
    run(tmp_path, sampler="random", trials=3)
    assert plan(tmp_path, sampler="random", trials=5).trials.left == 2


def test_another_protocol_and_a_folder_of_something_else_are_problems(tmp_path: Path) -> None:
    run(tmp_path / "run", trials=1)
    (problem,) = plan(tmp_path / "run", recipe=Recipe.short(epochs=4)).problems
    assert "recipe.epochs was 3 and is 4" in problem
    (problem,) = plan(tmp_path).problems
    assert "is not a run: it has run" in problem


# --- machines, data and disk -----------------------------------------------------------------------------------------


def test_how_many_trials_run_at_once(tmp_path: Path) -> None:
    here = plan(tmp_path)
    assert (here.places.at_once, here.places.where) == (cores(), "this machine")
    told = plan(tmp_path, cpus=64, gpus=3, cpus_per_trial=8, gpus_per_trial=0.5)
    assert (told.places.at_once, told.problems) == (6, ())


def test_a_trial_that_does_not_fit_is_a_problem(tmp_path: Path) -> None:
    found = plan(tmp_path, cpus=4, gpus=1, cpus_per_trial=8)
    (problem,) = found.problems
    assert problem.startswith("a trial needs 8 CPUs and 0 GPUs, but the largest machine has 4 CPUs and 1 GPU; ")
    assert found.places.at_once == 0
    assert found.trials.trials == 6


def test_a_cluster_that_does_not_answer_is_a_problem(tmp_path: Path) -> None:
    found = plan(tmp_path, address="127.0.0.1:1")
    assert found.problems == ("no Ray cluster answers at 127.0.0.1:1: Connection refused",)
    assert found.places.machines == ()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cpus": 0}, "--cpus is 0; allowed are whole numbers from 1"),
        ({"gpus": -1}, "--gpus is -1; allowed are whole numbers from 0"),
        ({"points": 0}, "--points is 0; allowed are whole numbers from 1"),
        (
            {"address": "auto", "cpus": 1},
            "--cpus 1 describes a single machine and cannot be combined with --address auto",
        ),
        (
            {"address": "auto", "gpus": 0},
            "--gpus 0 describes a single machine and cannot be combined with --address auto",
        ),
    ],
)
def test_choices_that_make_no_sense(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as error:
        plan(tmp_path, **options)
    assert str(error.value) == words


def test_without_the_data_all_else_is_said(tmp_path: Path) -> None:
    found = plan(tmp_path, measure=True, data=Coco(folder=str(tmp_path / "none")), seeds=(0, 1, 2))
    (problem,) = found.problems
    assert problem.startswith("the data cannot be used here: the folder ")
    assert problem.endswith("; give their folder with --data coco:DIR")
    assert "time is not measured: the data are not available" in found.notes
    assert (found.space.points, found.trials.trials, found.trials.images_seen) == (6, 18, None)
    assert found.disk is not None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_the_gpu_all_else_is_said(tmp_path: Path) -> None:
    found = plan(tmp_path, measure=True, gpus_per_trial=1, gpus=2, cpus_per_trial=1)
    assert found.notes == ("time is not measured: gpus_per_trial is 1, but torch sees no GPU on this machine",)
    assert (found.places.at_once, found.problems) == (min(2, cores()), ())
    (problem,) = plan(tmp_path, gpus_per_trial=1, cpus_per_trial=1).problems
    assert "--gpus plan for another machine" in problem


@pytest.mark.slow
def test_two_workers_take_their_places_and_less_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "MOST_STEPS", 3)

    def single(trial: Any) -> DetectorSpec:
        return spec(topologies.fpn(3, 7), width=trial.suggest_int("width", 16, 16))

    two = {"workers_per_trial": 2, "cpus_per_trial": 4, "recipe": Recipe.short(epochs=1, batch_size=8, sync_norm=True)}
    found = plan(tmp_path, space=single, measure=True, cpus=9, **two)
    assert (found.places.at_once, found.problems) == (2, ())
    assert "time is measured on the share of one of 2 workers; what they exchange is not in it" in found.notes


def test_a_batch_larger_than_the_data_is_a_problem(tmp_path: Path) -> None:
    found = plan(tmp_path, measure=True, recipe=Recipe.short(batch_size=17))
    assert found.problems == ("recipe.batch_size is 17; allowed is up to 16, the number of training images",)
    assert found.time is None


def test_a_disk_that_is_too_small_is_a_problem(tmp_path: Path) -> None:
    def large(trial: Any) -> DetectorSpec:
        return spec(topologies.fpn(3, 7), width=20_000)

    found = plan(tmp_path, space=large, seeds=tuple(range(10_000)))
    assert found.disk is not None
    assert found.disk.total > found.disk.free
    (problem,) = found.problems
    assert "GB free" in problem


def test_checkpoints_of_all_trials_and_one_beside_each_that_runs(tmp_path: Path) -> None:
    found = plan(tmp_path, trials=2, cpus=8, space=lambda trial: spec(topologies.fpn(3, 7)), seeds=(0, 1))
    assert found.disk is not None
    (checkpoint, _), (weights, _) = found.disk.checkpoint, found.disk.weights
    assert found.disk.total == 2 * (checkpoint + 2 * weights) + 2 * checkpoint


# --- time ------------------------------------------------------------------------------------------------------------


def test_time_is_measured_and_extended_to_all_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "MOST_STEPS", 6)
    said: list[str] = []
    study = make_study(
        space=wide, data=Shapes(train_images=8, val_images=2), recipe=Recipe.short(epochs=1, batch_size=8)
    )
    found = make_plan(study, out=tmp_path, count=count, cpus=2, say=said.append)
    assert found.time is not None
    assert [each.which for each in found.time.timed] == ["cheapest", "median", "most expensive"]
    assert [each.gmacs for each in found.time.timed] == [0.48, 0.96, 1.44]
    assert found.time.quickest.estimate <= found.time.slowest.estimate
    assert 3 * found.time.quickest.low < found.time.total.estimate < 3 * found.time.slowest.high
    assert len(said) == 4
    assert json.loads(json.dumps(found.to_dict()))["time"]["total"]["estimate"] == found.time.total.estimate
    assert list(tmp_path.iterdir()) == []


def test_finalists_and_early_stopping_are_in_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three trials of three epochs with a rung after the first: of three one goes on, two before it unjudged."""
    monkeypatch.setattr(rehearsal, "MOST_STEPS", 3)
    changes: dict[str, Any] = {"recipe": Recipe.short(epochs=3, batch_size=8), "trials": 3, "seeds": (0, 1, 2)}
    changes["space"] = lambda trial: spec(topologies.fpn(3, 7))
    found = plan(tmp_path, measure=True, cpus=1, **changes)
    assert found.time is not None
    assert found.time.stopping is None
    found = plan(
        tmp_path,
        measure=True,
        cpus=1,
        stopping=Halving(min_epochs=1),
        finalists=Finalists(count=4, seeds=(7, 8)),
        **changes,
    )
    assert (found.trials.trials, found.trials.finalists, found.trials.left) == (3, 2, 5)
    assert found.time is not None
    assert found.time.stopping is not None
    each = found.time.quickest.estimate
    assert found.time.total.estimate == pytest.approx(5 * each)
    assert found.time.stopping.least == pytest.approx((3 * 1 / 3 + 2) * each)
    assert found.time.stopping.expected == pytest.approx(((3 + 2 * (2 + 1 / 3)) / 3 + 2) * each)
    assert "images and disk are upper limits: trials stopped early take less" in found.notes
    assert found.detectable_finalists == Detectable.of(2, sd=None)


def test_what_a_grid_leaves_out_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what has too little time for its trials is said."""
    monkeypatch.setattr(rehearsal, "MOST_STEPS", 3)
    study = make_study(space=wide, recipe=Recipe.short(epochs=1, batch_size=8), trials=2, trial_seconds=0.001)
    found = make_plan(study, out=tmp_path, count=count)
    assert found.time is not None
    (problem,) = found.problems
    assert problem.startswith("trial_seconds is 0.001, but the slowest trial takes ")
    assert [each.gmacs for each in found.time.timed] == [0.48, 0.96]


def test_an_architecture_that_cannot_be_trained_is_a_problem(tmp_path: Path) -> None:
    def one(trial: Any) -> DetectorSpec:
        return spec(topologies.fpn(3, 7))

    recipe = Recipe.short(epochs=1, batch_size=8, pretrained=str(tmp_path / "nowhere.pth"))
    found = make_plan(make_study(space=one, recipe=recipe), out=tmp_path / "run", count=count)
    (problem,) = found.problems
    assert problem.startswith("the cheapest architecture cannot be trained: mobilenetv3_small_050, fpn ")
    assert "nowhere.pth" in problem
    assert found.time is None


# --- what seeds can show ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seeds", "sds"), [(3, 3.05), (5, 2.05), (10, 1.35)])
def test_detectable_differences_are_those_that_were_simulated(seeds: int, sds: float) -> None:
    assert Detectable.of(seeds, sd=None).sds == pytest.approx(sds, rel=0.03)
    assert Detectable.of(seeds, sd=0.2).ap == pytest.approx(0.2 * sds, rel=0.03)


def test_one_seed_shows_no_difference(tmp_path: Path) -> None:
    assert Detectable.of(1, sd=0.2) == Detectable(seeds=1, sds=None, ap=None)
    assert plan(tmp_path, seeds=(0, 1, 2)).detectable.seeds == 3
    # Seeds are outermost: 13 of 18 trials are two seeds of all six, and a third of one.
    assert plan(tmp_path, seeds=(0, 1, 2), trials=13).detectable.seeds == 2


def test_what_is_read_ahead_needs_room_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_coco(tmp_path / "coco", train=16, val=2)
    options: dict[str, Any] = {"data": data, "recipe": Recipe.short(epochs=1, batch_size=4), "cpus_per_trial": 2}
    here = plan(tmp_path / "run", cpus=4, **options).reading
    # One process beside the trial's own: two batches of 4 images of 64 px ahead, and the one in use.
    assert here == Reading(readers=1, batch=4 * 64 * 64 * 3, trial=3 * 4 * 64 * 64 * 3, at_once=2, free=None)
    assert plan(tmp_path / "run", **options | {"cpus_per_trial": 1}).reading is None
    assert plan(tmp_path / "run", cpus=4, cpus_per_trial=2).reading is None  # Shapes are drawn
    monkeypatch.setattr(planner, "free_memory", lambda: 1000)
    monkeypatch.setattr(planner, "cores", lambda: 4)
    (problem,) = plan(tmp_path / "run", **options).problems
    assert problem.startswith("read-ahead images need ")
