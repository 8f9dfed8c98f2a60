"""Trials that go wrong on a real Ray: each fails with its kind, its worker is freed, and the others know nothing of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from scaling_lab.runs.lock import read_holder
from scaling_lab.runs.reader import Runs
from scaling_lab.study.run.processes import marked
from tests.faults.afterwards import look_at
from tests.study.engine import log, rows, some_cores, start_driver, wait_for

pytestmark = pytest.mark.slow


def finish(out: Path, **options: Any) -> str:
    """Run a driver to its end; give what it said. Whatever became of its trials, nothing of it is left."""
    driver = start_driver(out, executor="ray", **options)
    mark = wait_for(lambda: read_holder(out / "driver.lock").get("mark"))
    said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, said
    assert "Traceback" not in said
    assert not marked(mark)
    look_at(out)
    return said


def words(out: Path, trial: int) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in log(out / "trials" / str(trial))]


def pids(out: Path, trial: int) -> list[int]:
    return list(dict.fromkeys(int(line.split()[0]) for line in log(out / "trials" / str(trial))))


def test_a_trial_that_hangs_in_c_code_is_killed_with_its_worker(tmp_path: Path) -> None:
    study = {"trials": 3, "trial_seconds": 5}
    said = finish(tmp_path, study=study, objective={"fail": {"none": "hang"}}, cpus=1)
    assert [(row["state"], row["epochs_done"]) for row in rows(tmp_path)] == [("failed", 1)] * 2 + [("complete", 3)]
    assert [row["failure_kind"] for row in rows(tmp_path)] == ["time_limit", "time_limit", None]
    assert said.count("time limit: not done after 5 s, the study's trial_seconds") == 2
    assert words(tmp_path, 1) == words(tmp_path, 2) == ["start at 0", "epoch 1"]
    assert len({*pids(tmp_path, 1), *pids(tmp_path, 2), *pids(tmp_path, 3)}) == 3
    assert "in _hang" in (tmp_path / "trials" / "1" / "error.txt").read_text()

    finish(tmp_path, study={"trials": 3, "trial_seconds": 300}, retry_failed=True)
    assert [(row["state"], row["epochs_done"]) for row in rows(tmp_path)] == [("complete", 3)] * 3
    assert words(tmp_path, 1) == ["start at 0", "epoch 1", "start at 1", "epoch 2", "epoch 3"]
    assert len(Runs(tmp_path).epochs()) == 9


def test_ctrl_c_does_not_wait_for_a_trial_that_hangs(tmp_path: Path) -> None:
    driver = start_driver(tmp_path, executor="ray", objective={"fail": {"none": "hang"}})
    wait_for(lambda: (tmp_path / "trials" / "1" / "checkpoint.pt").exists())
    mark = read_holder(tmp_path / "driver.lock")["mark"]
    os.killpg(driver.pid, signal.SIGINT)
    said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 130, said
    assert said.splitlines()[-2:] == ["stopping …", "stopped with 0 trials ended; the same command continues"]
    assert not marked(mark)
    assert {row["state"] for row in rows(tmp_path)} == {"planned"}
    look_at(tmp_path)


@pytest.mark.parametrize("executor", ["local", "ray"])
def test_memory_that_does_not_suffice(tmp_path: Path, executor: str) -> None:
    """Of torch, which asks the system for more than the process may have."""
    driver = start_driver(
        tmp_path, executor=executor, study={"trials": 3}, objective={"fail": {"none": "allocate"}}, cpus=1
    )
    said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, said
    assert [row["failure_kind"] for row in rows(tmp_path)] == ["out_of_memory", "out_of_memory", None]
    assert "out of memory: [enforce fail at alloc_cpu.cpp" in said
    assert rows(tmp_path)[2]["state"] == "complete"
    look_at(tmp_path)
    if executor == "ray":
        assert not {*pids(tmp_path, 1), *pids(tmp_path, 2)} & {*pids(tmp_path, 3)}


def test_ray_kills_what_fills_the_machines_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With next to nothing allowed, it kills every worker at once; such a worker is lost, and tried again."""
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.001")
    said = finish(tmp_path, study={"trials": 1}, objective={"hold": 1}, cpus=1)
    assert [(row["state"], row["failure_kind"]) for row in rows(tmp_path)] == [("failed", "out_of_memory")]
    assert "its worker was lost 3 times, the last time because the machine was low on memory" in said


def test_a_trial_goes_on_where_its_killed_worker_stopped(tmp_path: Path) -> None:
    driver = start_driver(tmp_path, executor="ray", study={"trials": 2}, objective={"hold": 1})
    for epoch in (1, 2):
        wait_for(lambda epoch=epoch: _checkpoint(tmp_path) == f"{epoch}")
        os.kill(pids(tmp_path, 1)[-1], signal.SIGKILL)
        wait_for(lambda epoch=epoch: len(pids(tmp_path, 1)) == epoch + 1)
    (tmp_path / "release").touch()
    said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, said
    assert said.count("trial   1 lost its worker; restarting from its last checkpoint") == 2
    assert [(row["state"], row["epochs_done"]) for row in rows(tmp_path)] == [("complete", 3)] * 2
    assert words(tmp_path, 1) == ["start at 0", "epoch 1", "start at 1", "epoch 2", "start at 2", "epoch 3"]
    assert len(Runs(tmp_path).epochs()) == 6
    look_at(tmp_path)


@pytest.mark.parametrize("executor", ["local", "ray"])
def test_a_trial_whose_reader_is_killed_goes_on_from_its_checkpoint(tmp_path: Path, executor: str) -> None:
    """Once, and each time that it is started."""
    fail = {"none": "reader_once", "fpn": "reader"}
    driver = start_driver(
        tmp_path, executor=executor, study={"sampler": "grid", "trials": 3}, objective={"fail": fail}, cpus=1
    )
    said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, said
    first, _, third = rows(tmp_path)
    assert (first["state"], first["epochs_done"]) == ("complete", 3)
    assert words(tmp_path, 1) == ["start at 0", "epoch 1", "start at 1", "epoch 2", "epoch 3"]
    assert (third["state"], third["failure_kind"]) == ("failed", "lost_worker")
    assert words(tmp_path, 3) == ["start at 0"] * 3
    message = Runs(tmp_path).table().set_index("trial").loc[3, "failure_message"]
    assert "an image reader was ended by SIGKILL" in message
    assert said.count("lost its worker (an image reader was ended by SIGKILL") == 4


def test_every_kind_is_told_beside_the_others(tmp_path: Path) -> None:
    """Which workers are tried again is seen in the logs: the lost alone."""
    fail = {"none": "bad_input", "fpn": "nan", "bifpn": "exit"}
    said = finish(tmp_path, objective={"fail": fail}, study={"sampler": "grid"}, cpus=some_cores("ray"))
    kinds = [row["failure_kind"] for row in rows(tmp_path)]
    assert kinds == ["bad_input"] * 2 + ["diverged"] * 2 + ["lost_worker"] * 2
    assert "6 of them failed (2 bad input, 2 diverged, 2 lost worker)" in said
    assert [len(words(tmp_path, trial)) for trial in range(1, 7)] == [1, 1, 2, 2, 3, 3]


def _checkpoint(out: Path) -> str:
    path = out / "trials" / "1" / "checkpoint.pt"
    return path.read_text() if path.exists() else ""
