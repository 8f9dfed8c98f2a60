"""Studies on a real Ray: the same ledger as in one process, and no trial lost or run twice, whatever is killed."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scaling_lab import Finalists
from scaling_lab.errors import UserError
from scaling_lab.runs.lock import read_holder
from scaling_lab.runs.reader import Runs
from scaling_lab.study.run.processes import marked, temporary_folder
from scaling_lab.study.run.ray_executor import Resources, check_choices
from scaling_lab.study.run.runner import run_study
from tests.faults.afterwards import look_at
from tests.study.engine import (
    Replayed,
    assert_each_epoch_once,
    count,
    log,
    make_study,
    one_of_three,
    rows,
    some_cores,
    start_driver,
    wait_for,
)

# One point that trains, its GPU failing once, and two that fail in their ways.
FAILING = {"none": "fault_once", "fpn": "raise", "bifpn": "nan"}


def test_ray_and_one_process_write_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    stream = io.StringIO()
    for executor in ("local", "ray"):
        run_study(
            make_study(space=one_of_three),
            out=tmp_path / executor,
            executor=executor,
            cpus=some_cores(executor),
            count=count,
            objective=Replayed(fail=FAILING),
            stream=stream,
        )
    assert rows(tmp_path / "ray") == rows(tmp_path / "local")
    kinds = [row["failure_kind"] for row in rows(tmp_path / "ray")]
    assert kinds == [None, "error", "diverged"]
    for executor in ("local", "ray"):
        words = [line.split(maxsplit=1)[1] for line in log(tmp_path / executor / "trials" / "1")]
        assert words == ["start at 0", "epoch 1", "start at 1", "epoch 2", "epoch 3"]
    assert (
        stream.getvalue().count("(AcceleratorError: CUDA error: uncorrectable ECC error encountered); it will cont")
        == 2
    )
    assert Runs(tmp_path / "ray").epochs().equals(Runs(tmp_path / "local").epochs())
    assert not (tmp_path / "home").exists()
    assert "Traceback" not in stream.getvalue()
    assert capfd.readouterr() == ("", "")
    look_at(tmp_path / "ray")


@pytest.mark.slow
def test_a_search_goes_on_over_several_runs_of_tune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scaling_lab.study.run import tune_loop

    # So few that six trials and two finalists take four runs; the last of them is full, and there is no fifth.
    monkeypatch.setattr(tune_loop, "_MOST_TRIALS", 2)
    monkeypatch.setattr(tune_loop, "_TRIALS_A_PLACE", 1)
    study = make_study(finalists=Finalists(count=2, seeds=(7,)))
    run_study(
        study,
        out=tmp_path,
        executor="ray",
        cpus=some_cores("ray"),
        count=count,
        objective=Replayed(),
        stream=io.StringIO(),
    )
    assert [row["state"] for row in rows(tmp_path)] == ["complete"] * 8
    assert len(Runs(tmp_path).epochs()) == 8 * 3


@pytest.mark.slow
def test_a_ray_that_a_study_has_imported_before_is_reached() -> None:
    code = (
        "import ray\n"  # it reads the authentication now, and would not send our token
        "from scaling_lab.study.run.processes import make_mark, watched\n"
        "from scaling_lab.study.run.ray_executor import Resources, connected\n"
        "mark = make_mark()\n"
        "with watched(mark), connected(Resources(cpus=1), mark) as connection:\n"
        "    print(connection.cluster_resources()['CPU'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert (done.stdout, done.returncode) == ("1.0\n", 0), done.stderr


@pytest.mark.slow
def test_killed_and_stopped_drivers_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options: dict[str, Any] = {"executor": "ray", "study": {"trials": 5}}
    first = start_driver(out, objective={"hold": 1}, **options)
    wait_for(lambda: (out / "trials" / "1" / "checkpoint.pt").exists())
    mark = read_holder(out / "driver.lock")["mark"]
    processes = marked(mark)
    assert len(processes) > 4
    assert _listening(processes) == {"127.0.0.1"}

    second = start_driver(out, executor="local")
    said, _ = second.communicate(timeout=300)
    assert (second.returncode, f"is being written by process {first.pid} on" in said) == (2, True)

    first.kill()
    first.communicate(timeout=300)
    wait_for(lambda: not marked(mark))
    wait_for(lambda: not temporary_folder(mark).exists())
    look_at(out)

    third = start_driver(out, objective={"hold": 3}, **options)
    wait_for(lambda: [row["state"] for row in rows(out)[:3]] == ["complete", "complete", "running"])
    mark = read_holder(out / "driver.lock")["mark"]
    os.killpg(third.pid, signal.SIGINT)
    said, _ = third.communicate(timeout=300)
    assert third.returncode == 130
    assert said.splitlines()[-2:] == ["stopping …", "stopped with 2 trials ended; the same command continues"]
    assert "Traceback" not in said
    assert not marked(mark)
    assert [row["state"] for row in rows(out)] == ["complete"] * 2 + ["planned"] * 3
    look_at(out)

    # The rest, and a worker that dies: tried three times, and then a failure with its kind.
    last = start_driver(out, executor="ray", objective={"fail": {"bifpn": "exit"}}, study={"trials": 5})
    said, _ = last.communicate(timeout=300)
    done = "all 5 trials are done, 1 of them failed (1 lost worker); --retry-failed runs those again"
    assert (last.returncode, said.splitlines()[-1]) == (0, done)
    assert "Traceback" not in said
    assert [(row["state"], row["epochs_done"]) for row in rows(out)] == [("complete", 3)] * 4 + [("failed", 0)]
    assert rows(out)[4]["failure_kind"] == "lost_worker"
    assert len(Runs(out).epochs()) == 12
    assert [line.split(maxsplit=1)[1] for line in log(out / "trials" / "5")] == ["start at 0"] * 3
    for trial in range(1, 5):
        assert_each_epoch_once(log(out / "trials" / str(trial)))
    look_at(out)


def _listening(processes: list[int]) -> set[str]:
    """The addresses on which processes listen."""
    lines = subprocess.check_output(["ss", "-ltnpH"], text=True).splitlines()
    ours = [line.split()[3] for line in lines if any(f"pid={pid}," in line for pid in processes)]
    assert ours
    return {address.rpartition(":")[0].strip("[]").removeprefix("::ffff:") for address in ours}


def test_a_cluster_that_does_not_answer_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no Ray cluster answers at 127\.0\.0\.1:1: Connection refused"):
        run_study(make_study(), out=tmp_path, executor="ray", address="127.0.0.1:1", count=count, objective=Replayed())
    assert [row["state"] for row in rows(tmp_path)] == ["planned"] * 6
    look_at(tmp_path)


def test_cores_are_those_that_this_process_may_use() -> None:
    first = min(os.sched_getaffinity(0))
    ray_executor = "scaling_lab.study.run.ray_executor"
    code = f"import os; os.sched_setaffinity(0, {{{first}}}); from {ray_executor} import cores; print(cores())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "1\n"


def test_what_fits() -> None:
    node = {"CPU": 8.0, "GPU": 2.0, "memory": 1e9}
    assert Resources(cpus_per_trial=2).trials_at_once([node, {"CPU": 3.0}]) == 5
    assert Resources(cpus_per_trial=0.5).trials_at_once([{"CPU": 2.0}]) == 4
    assert Resources(gpus_per_trial=0.6).trials_at_once([node]) == 2
    assert Resources(gpus_per_trial=0.3).trials_at_once([node]) == 6
    two = {"cpus_per_trial": 4, "workers_per_trial": 2}
    assert Resources(**two, gpus_per_trial=2).trials_at_once([node]) == 1
    assert Resources(**two).trials_at_once([node, {"CPU": 3.0}]) == 2  # one over both nodes
    with pytest.raises(UserError, match="needs 4 CPUs and 0 GPUs, but only 1 of 2 workers fit; lower"):
        Resources(**two).trials_at_once([{"CPU": 3.0}])
    with pytest.raises(UserError, match="needs 16 CPUs and 0 GPUs, but the largest machine has 8 CPUs and 2 GPUs"):
        Resources(cpus_per_trial=16).trials_at_once([node])
    with pytest.raises(UserError, match="needs 1 CPU and 1 GPU, but"):
        Resources(gpus_per_trial=1).trials_at_once([{"CPU": 3.0}])
    with pytest.raises(UserError, match=r"has 0 CPUs and 0 GPUs; lower .*, or give --at-once for a cluster that grows"):
        Resources(address="auto").trials_at_once([])
    assert not Resources(**two).fit([{"CPU": 3.0}])
    with pytest.raises(UserError, match="--at-once 4 is for a cluster that grows; give its --address"):
        check_choices(executor="ray", address=None, cpus=None, at_once=4)
