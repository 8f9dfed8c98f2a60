"""Lost workers count from 0 again once a trial has moved on, so a preempted trial ends; one that does not move on fails."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scaling_lab import DetectorSpec, topologies
from scaling_lab.data.readers import LostReader
from scaling_lab.study.run.trial import Report
from tests.study.engine import log, result, rows
from tests.study.engine import spec as make_spec
from tests.study.test_trial_workers import run

STEPS = 4


@dataclass(frozen=True)
class Preempted:
    """An objective of one epoch, whose worker is lost after each step. It saves each step, or only the first."""

    executor: str
    saves: bool

    def __call__(self, spec: DetectorSpec, seed: int, folder: Path, report: Report) -> Mapping[str, Any]:
        checkpoint = folder / "checkpoint.pt"
        done = int(checkpoint.read_text()) if checkpoint.exists() else 0
        with (folder / "log.txt").open("a") as file:
            file.write(f"{done}\n")
        if done < STEPS and (self.saves or not done):
            checkpoint.write_text(str(done + 1))
            os.utime(checkpoint, ns=(0, done + 1))  # another time, however coarse the clock
        if done < STEPS:
            if self.executor == "local":
                raise LostReader("an image reader was ended by SIGKILL")
            os.kill(os.getpid(), signal.SIGKILL)
        report(result(spec, seed, 1))
        return result(spec, seed, 1)


def one_point(trial: Any) -> DetectorSpec:
    return make_spec(topologies.fpn(3, 7), width=trial.suggest_int("width", 16, 16))


@pytest.mark.parametrize("executor", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_trial_that_moves_on_may_lose_any_number_of_workers(tmp_path: Path, executor: str) -> None:
    run(tmp_path, Preempted(executor, saves=True), executor=executor, space=one_point)
    assert rows(tmp_path)[0]["state"] == "complete"
    assert log(tmp_path / "trials" / "1") == [str(step) for step in range(STEPS + 1)]


def test_a_trial_that_does_not_move_on_fails(tmp_path: Path) -> None:
    run(tmp_path, Preempted("local", saves=False), executor="local", space=one_point)
    assert (rows(tmp_path)[0]["state"], rows(tmp_path)[0]["failure_kind"]) == ("failed", "lost_worker")
    assert log(tmp_path / "trials" / "1") == ["0", "1", "1"]
