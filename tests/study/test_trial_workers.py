"""Trials that two workers train, on a real Ray and in this process: the same results, and nothing left of them."""

from __future__ import annotations

import dataclasses
import io
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch

from scaling_lab import DetectorSpec
from scaling_lab.errors import UserError
from scaling_lab.storage import Storage
from scaling_lab.study import Halving
from scaling_lab.study.run import runner
from scaling_lab.study.run.processes import make_mark, marked
from scaling_lab.study.run.runner import run_study
from scaling_lab.study.run.trial import Stopped, Training
from tests.faults.afterwards import look_at
from tests.study.engine import count, make_study, rows
from tests.study.pair import TWO, Shared, words
from tests.training.test_group import DATA, RECIPE, SPEC


def run(out: Path, objective: Any, **changes: Any) -> str:
    stream = io.StringIO()
    options = {name: changes.pop(name) for name in ("executor", "cpus") if name in changes}
    run_study(make_study(**changes), out=out, count=count, objective=objective, stream=stream, **options)
    return stream.getvalue()


@pytest.mark.slow
def test_two_workers_are_stopped_lost_and_fail_without_a_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is room for one trial: a placement group that were left would let no other start."""
    mark = make_mark()
    monkeypatch.setattr(runner, "make_mark", lambda: mark)
    run(
        tmp_path, Shared(fail={"bifpn": "raise", "none": "exit"}), **TWO, cpus=2,
        objectives={"ap": "maximize"}, stopping=Halving(min_epochs=1, factor=3),
    )  # fmt: skip
    states = [row["state"] for row in rows(tmp_path)]
    assert states == ["complete", "complete", "stopped", "complete", "failed", "failed"]
    for trial in (1, 2):  # the narrow and the wide of "none", whose second worker was lost once
        again = ["start at 1 beside 0", "epoch 2", "epoch 3"]
        assert words(tmp_path, trial) == ["start at 0 beside 0", "epoch 1", *again]
    assert words(tmp_path, 3) == ["start at 0 beside 0", "epoch 1"]
    assert rows(tmp_path)[4]["failure_kind"] == "error"
    assert rows(tmp_path)[4]["failure_message"] == "ZeroDivisionError: as asked for"
    assert "as asked for" in (tmp_path / "trials" / "5" / "worker-1" / "error.txt").read_text()
    names = {path.name for path in (tmp_path / "trials" / "4").iterdir()}
    assert names == {"checkpoint.pt", "epochs.jsonl", "log.txt", "pids-0", "pids-1"}
    assert not marked(mark)
    look_at(tmp_path)


@pytest.mark.slow
def test_a_machine_whose_workers_lose_their_connection_ends_the_session(tmp_path: Path) -> None:
    """Three faults of two trials leave it out, and it is the only one."""
    fail = dict.fromkeys(("none", "fpn", "bifpn"), "fault")
    with pytest.raises(UserError, match="all devices on which a trial fits are left out; finished work is kept"):
        run(tmp_path, Shared(fail=fail), **TWO, cpus=2)
    assert [row["state"] for row in rows(tmp_path)] == ["planned"] * 6
    assert [len((tmp_path / "trials" / name / "log.txt").read_text().splitlines()) for name in "123"] == [1, 1, 1]


def space(trial: Any) -> DetectorSpec:
    """One point: the detector for which two workers' weights are known to be one worker's."""
    return dataclasses.replace(SPEC, width=trial.suggest_int("width", SPEC.width, SPEC.width))


def _weights(out: Path) -> dict[str, torch.Tensor]:
    state = torch.load(out / "trials" / "1" / "weights.pt", weights_only=True)["state"]
    return {name: tensor.double() for name, tensor in state.items()}


@pytest.mark.parametrize("executor", ["local", "ray"])
@pytest.mark.slow
def test_two_workers_train_what_one_does(tmp_path: Path, executor: str) -> None:
    study = make_study(space=space, data=DATA, recipe=RECIPE)
    two = dataclasses.replace(study, workers_per_trial=2, cpus_per_trial=2)
    run_study(study, out=tmp_path / "one", executor="local", stream=None)
    run_study(two, out=tmp_path / "two", executor=executor, storage=str(tmp_path / "storage"), stream=None)
    names = Storage(str(tmp_path / "storage" / "two" / "trials" / "1")).names()
    assert {"checkpoint.pt", "weights.pt", "epochs.jsonl"} <= set(names)
    (one,), (other,) = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert one["state"] == other["state"] == "complete"
    assert other["ap"] == pytest.approx(one["ap"], abs=0.1)
    expected, found = _weights(tmp_path / "one"), _weights(tmp_path / "two")
    assert found.keys() == expected.keys()
    assert max(float((found[name] - expected[name]).abs().max()) for name in found) < 1e-5
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("error", [Stopped(), OSError("the ledger's disk is full")])
def test_what_a_report_raises_ends_the_others_at_once_and_is_not_taken_for_theirs(
    tmp_path: Path, error: BaseException
) -> None:
    def report(_: dict[str, Any]) -> None:
        raise error

    recipe = dataclasses.replace(RECIPE, epochs=2)
    training = Training(data=DATA.to_dict(), recipe=recipe.to_dict(), device="cpu", threads=1, workers=2)
    with pytest.raises(type(error)) as raised:
        training(SPEC, 0, tmp_path, report)
    assert raised.value is error
    assert multiprocessing.active_children() == []
