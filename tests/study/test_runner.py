"""Studies from start to end, in this process: what is written, what a second run does, what is refused."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from scaling_lab import DetectorSpec, Recipe, Shapes
from scaling_lab.errors import UserError
from scaling_lab.runs.lock import WriterLock
from scaling_lab.runs.reader import Runs
from scaling_lab.study.run.runner import run_study
from tests.faults.afterwards import look_at
from tests.study.engine import Replayed, count, log, make_study, one_of_three, rows, start_driver, wait_for

_OPTIONS = ("measure_latency", "executor", "address", "cpus", "retry_failed", "check")


def run(out: Path, objective: Any = None, **options: Any) -> str:
    study = {name: options.pop(name) for name in list(options) if name not in _OPTIONS}
    stream = io.StringIO()
    run_study(
        make_study(**study),
        out=out,
        count=count,
        objective=objective or Replayed(),
        stream=stream,
        **{"executor": "local", **options},
    )
    return stream.getvalue()


def never(*_: Any) -> dict[str, Any]:
    raise AssertionError("nothing was to be run")


def test_a_run_leaves_all_that_a_report_needs(tmp_path: Path) -> None:
    said = run(tmp_path / "run")
    assert said.endswith("all 6 trials are done\n")
    runs = Runs(tmp_path / "run")
    table = runs.table()
    assert list(table["state"]) == ["complete"] * 6
    assert list(table["epochs_done"]) == [3] * 6
    assert table["ap"].tolist() == pytest.approx([19, 35, 19.4, 35.4, 19.8, 35.8], abs=0.5)
    assert len(runs.epochs()) == 18
    assert len(list((tmp_path / "run" / "specs").glob("*.json"))) == 6
    for digest, spec in runs.specs().items():
        assert DetectorSpec.from_json((tmp_path / "run" / "specs" / f"{digest}.json").read_text()) == spec
    samples = runs.samples()
    assert len(samples) == 8
    with Image.open(samples[0][1]) as image:
        assert image.mode == "RGB"
    assert samples[0][2][0]["image_id"] == samples[0][0]
    provenance = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert {"torch", "ray", "optuna", "timm", "python"} <= set(provenance["versions"])
    assert provenance["data_digest"] == runs.meta["data_digest"]
    assert runs.meta["planned_trials"] == 6
    assert runs.sessions()["ended"].notna().all()


def test_a_second_run_says_that_all_is_done_and_runs_nothing(tmp_path: Path) -> None:
    run(tmp_path / "run")
    before = rows(tmp_path / "run")
    assert run(tmp_path / "run", never, executor="ray").splitlines()[-1] == "all 6 trials are done"
    assert rows(tmp_path / "run") == before
    assert len(Runs(tmp_path / "run").sessions()) == 1


def test_failures_have_kinds_and_messages_and_the_rest_goes_on(tmp_path: Path) -> None:
    said = run(tmp_path / "run", Replayed(fail={"fpn": "raise", "bifpn": "none"}))
    table = Runs(tmp_path / "run").table()
    assert table["failure_kind"].fillna("").tolist() == ["", "", "error", "error", "diverged", "diverged"]
    assert table["failure_message"][4] == "ap is None at the end"
    assert said.endswith(
        "all 6 trials are done, 4 of them failed (2 diverged, 2 error); --retry-failed runs those again\n"
    )
    assert "ZeroDivisionError: as asked for" in said
    assert "Traceback" not in said
    look_at(tmp_path / "run")


def test_failed_trials_are_run_again_when_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(out, Replayed(fail={"fpn": "diverged", "bifpn": "memory"}), trials=4)
    run(out, Replayed(fail={"bifpn": "memory"}), trials=6)
    before = Runs(out).table()
    assert list(before["state"]) == ["complete"] * 2 + ["failed"] * 4
    assert run(out, never).endswith(
        "all 6 trials are done, 4 of them failed (2 diverged, 2 out of memory); --retry-failed runs those again\n"
    )
    said = run(out, retry_failed=True)
    assert "4 failed trials will be rerun\n" in said
    assert said.endswith("all 6 trials are done\n")
    after = Runs(out).table()
    assert list(after["state"]) == ["complete"] * 6
    assert after["failure_kind"].isna().all()
    assert after["ap"][:2].tolist() == before["ap"][:2].tolist()
    assert len(log(out / "trials" / "1")) == 4
    assert "Diverged" in (out / "trials" / "3.failed-1" / "error.txt").read_text()


def test_a_retry_goes_on_from_the_checkpoint_only_after_a_failure_of_the_machine(tmp_path: Path) -> None:
    def fail_once(how: str) -> Any:
        def objective(spec: DetectorSpec, seed: int, folder: Path, report: Any) -> Any:
            def once(metrics: dict[str, Any]) -> None:
                report(metrics)
                if metrics["epoch"] == 2 and not (folder.parent / how).exists():
                    (folder.parent / how).touch()
                    raise MemoryError if how == "memory" else ZeroDivisionError

            return Replayed()(spec, seed, folder, once)

        return objective

    for how, starts in (("memory", ["start at 0", "start at 1"]), ("error", ["start at 0"])):
        out = tmp_path / how
        run(out, fail_once(how), trials=1)
        assert [row["epochs_done"] for row in rows(out)] == [2]
        run(out, fail_once(how), trials=1, retry_failed=True)
        assert [(row["state"], row["epochs_done"]) for row in rows(out)] == [("complete", 3)]
        assert [line.split(maxsplit=1)[1] for line in log(out / "trials" / "1") if "start" in line] == starts
        assert len(Runs(out).epochs()) == 3


def test_a_run_says_what_it_is_and_how_to_stop_it(tmp_path: Path) -> None:
    lines = run(tmp_path / "run", trials=2).splitlines()
    assert lines[:5] == [
        "study:  run",
        "data:   Shapes: 16 training and 8 held-out images, seed 0",
        f"folder: {tmp_path / 'run'}",
        "trials: 2",
        "running in this process, one trial at a time; Ctrl-C stops cleanly, and the same command continues",
    ]
    assert "trials: 6, 2 of them done" in run(tmp_path / "run").splitlines()


def test_limits_that_admit_nothing_are_said_with_the_least_cost(tmp_path: Path) -> None:
    said = run(tmp_path / "run", never, limits={"gmacs": 0.001, "params_m": 1})
    words = "no trial: the limits reject all of 6 points; the least gmacs is 0.96, the limit 0.001, "
    assert said.splitlines()[-1] == words + "the least params_m is 0.016, the limit 1"


def test_one_trial_is_not_many(tmp_path: Path) -> None:
    assert run(tmp_path / "run", Replayed(fail={"none": "raise"}), trials=1).endswith(
        "the only trial failed; --retry-failed runs it again\n"
    )
    said = run(tmp_path / "run", trials=1, retry_failed=True)
    assert "1 failed trial will be rerun\n" in said
    assert said.endswith("the only trial is done\n")


def test_a_check_comes_before_the_training(tmp_path: Path) -> None:
    def check(folder: Path) -> None:
        raise UserError(f"no report {Runs(folder).meta['report']}")

    with pytest.raises(UserError, match=r"no report reports/frontier\.py"):
        run(tmp_path / "run", never, check=check)
    run(tmp_path / "run", trials=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"executor": "ray", "cpus": 0}, "--cpus is 0; allowed are 1 to "),
        ({"executor": "ray", "cpus": -1}, "--cpus is -1; allowed are 1 to "),
        ({"executor": "ray", "cpus": 100_000}, "--cpus is 100000; allowed are 1 to "),
        ({"executor": "local", "cpus": 1}, "--cpus 1 needs Ray"),
        ({"executor": "local", "address": "auto"}, "--address auto needs Ray"),
        ({"executor": "ray", "address": "auto", "cpus": 1}, "--cpus 1 is for Ray on this machine"),
    ],
)
def test_choices_of_the_machine(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        run(tmp_path / "run", never, **options)
    assert not (tmp_path / "run").exists()


def test_an_objective_without_the_objectives_value_fails(tmp_path: Path) -> None:
    run(tmp_path / "run", lambda *_: {"loss": 1.0}, trials=1)
    assert Runs(tmp_path / "run").table()["failure_message"][0] == "the objective gave no ap"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recipe": Recipe.short(epochs=4)}, "recipe.epochs was 3 and is 4"),
        ({"data": Shapes(train_images=16, val_images=9)}, "data.val_images was 8 and is 9"),
    ],
)
def test_another_protocol_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    run(tmp_path / "run", trials=1)
    with pytest.raises(UserError) as error:
        run(tmp_path / "run", never, **changes)
    assert words in str(error.value)
    assert "--out" in str(error.value)
    assert Runs(tmp_path / "run").meta["recipe"]["epochs"] == 3


def test_more_trials_than_before_train_only_the_new_ones(tmp_path: Path) -> None:
    run(tmp_path / "run", trials=2)
    run(tmp_path / "run", seeds=(0, 1))
    assert [row["seed"] for row in rows(tmp_path / "run")] == [0] * 6 + [1] * 6
    assert len(log(tmp_path / "run" / "trials" / "1")) == 4


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file.* cannot be written"):
        run(tmp_path / "file" / "run")


def test_trials_without_a_ledger_are_not_continued(tmp_path: Path) -> None:
    run(tmp_path / "run", trials=1)
    (tmp_path / "run" / "ledger.sqlite").unlink()
    with pytest.raises(
        UserError, match=r"run is not a run: it has optuna\.journal, .* and 1 more but no ledger\.sqlite;"
    ):
        run(tmp_path / "run", never)


def test_a_folder_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(
        UserError,
        match=r"is not a run: it has notes\.txt but no ledger\.sqlite; choose a new or empty folder with --out",
    ):
        run(tmp_path, never)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_driver_that_was_killed_before_its_ledger_leaves_no_obstacle(tmp_path: Path) -> None:
    for name in ("specs", "trials", "samples"):
        (tmp_path / name).mkdir()
    (tmp_path / "driver.lock").touch()
    run(tmp_path, trials=1)
    assert Runs(tmp_path).table()["state"].tolist() == ["complete"]


def test_a_second_driver_is_refused_with_the_reason(tmp_path: Path) -> None:
    run(tmp_path / "run", trials=1)
    lock = WriterLock(tmp_path / "run" / "driver.lock")
    lock.write({})
    with pytest.raises(UserError, match=rf"is being written by process {os.getpid()} on .*; wait until it ends"):
        run(tmp_path / "run")
    lock.release()
    run(tmp_path / "run")


def test_a_study_without_a_file_needs_a_folder() -> None:
    with pytest.raises(UserError, match="give the run's folder"):
        run_study(make_study())
    with pytest.raises(UserError, match="executor 'slurm' is unknown; allowed are ray, local"):
        run_study(make_study(), executor="slurm")


def test_a_form_of_a_study_without_forms(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the study run has no form 'x'"):
        run_study(make_study(), out=tmp_path / "run", form="x")


def test_an_error_in_the_space_leaves_a_run_that_can_go_on(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"test_runner\.py:\d+: KeyError: 'x' \(in the search space"):
        run(tmp_path / "run", space=lambda trial: {}["x"])
    run(tmp_path / "run", trials=1)


def test_latencies_are_measured_once(tmp_path: Path) -> None:
    asked: list[int] = []

    def measure(specs: list[DetectorSpec]) -> Iterator[dict[str, Any]]:
        asked.append(len(specs))
        for place, spec in enumerate(specs):
            times = {"median_ms": 10.0 + place, "p90_ms": 12.0, "spread_ms": 1.0, "runs": 3}
            where = {"device": "d", "dtype": "float32", "batch": 1, "threads": 2, "backend": "eager"}
            how = {"scope": "network", "method": "quick", "processes": 1, "versions": {"torch": "1"}}
            yield {"architecture": spec.digest, **where, **times, **how}

    run(tmp_path / "run", trials=2, measure_latency=measure)
    run(tmp_path / "run", trials=3, measure_latency=measure)
    run(tmp_path / "run", trials=3, measure_latency=measure)
    assert asked == [2, 1]
    assert Runs(tmp_path / "run").table()["latency_ms"].tolist() == [10.0, 11.0, 10.0]


def test_ctrl_c_stops_and_the_same_command_continues(tmp_path: Path) -> None:
    out = tmp_path / "run"
    driver = start_driver(out, executor="local", objective={"hold": 1}, study={"trials": 2})
    wait_for(lambda: (out / "trials" / "1" / "checkpoint.pt").exists())
    os.killpg(driver.pid, signal.SIGINT)
    said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 130
    assert said.splitlines()[-2:] == ["stopping …", "stopped with 0 trials ended; the same command continues"]
    assert [row["state"] for row in rows(out)] == ["planned"] * 2
    look_at(out)
    with sqlite3.connect(out / "ledger.sqlite") as connection:
        connection.execute("UPDATE trials SET seconds = 100 WHERE id = 1")
    connection.close()
    run(out, trials=2)
    assert [line.split(maxsplit=1)[1] for line in log(out / "trials" / "1")] == [
        "start at 0",
        "epoch 1",
        "start at 1",
        "epoch 2",
        "epoch 3",
    ]
    seconds = Runs(out).table()["seconds"]
    assert seconds[0] > 100 > seconds[1]


def test_a_trial_whose_gpu_fails_each_time_fails_and_continues_from_its_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = run(out, Replayed(fail={"bifpn": "fault"}), space=one_of_three)
    assert [(row["state"], row["failure_kind"]) for row in rows(out)] == [("complete", None)] * 2 + [
        ("failed", "device_fault")
    ]
    assert said.count("trial   3 met a fault of hardware on this machine (AcceleratorError: CUDA error: unc") == 2
    assert said.splitlines()[-1].startswith("all 3 trials are done, 1 of them failed (1 device fault); --retry-failed")
    (out / "trials" / "3" / "checkpoint.pt").write_text("2")
    run(out, Replayed(), space=one_of_three, retry_failed=True)
    assert log(out / "trials" / "3")[-2:] == [f"{os.getpid()} start at 2", f"{os.getpid()} epoch 3"]
    assert rows(out)[2]["state"] == "complete"


def test_a_machine_whose_gpu_fails_in_trial_after_trial_ends_the_session_and_fails_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^this process cannot go on with its GPU \(AcceleratorError: CUDA error: unc"):
        run(tmp_path, Replayed(fail={"none": "fault"}))
    # After each of the first two faults another trial comes first.
    assert [row["state"] for row in rows(tmp_path)] == ["planned"] * 2 + ["complete"] + ["planned"] * 3
    assert [len(log(tmp_path / "trials" / str(trial))) for trial in (1, 2)] == [2, 1]
    said = run(tmp_path)
    assert said.endswith("all 6 trials are done\n")
    look_at(tmp_path)


def test_a_process_that_lost_its_gpu_ends_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a fault that leaves CUDA unusable: each of its calls fails, those that free memory too."""

    def lost(*_: Any) -> Any:
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    for name in ("synchronize", "empty_cache", "get_device_name"):
        monkeypatch.setattr(torch.cuda, name, lost)
    with pytest.raises(UserError, match=r"this process cannot go on with its GPU .*; finished work is kept"):
        run(tmp_path, Replayed(fail={"none": "raise"}))
    assert [row["failure_kind"] for row in rows(tmp_path)] == ["error"] + [None] * 5
