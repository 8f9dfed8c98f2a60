"""What a run's folder says of itself: while a driver runs, after it was killed, and when all is done."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import pytest

from scaling_lab.cli import main
from scaling_lab.runs.lock import WriterLock
from scaling_lab.runs.run_status import read_status
from scaling_lab.study import Finalists, Halving
from scaling_lab.study.run.runner import run_study
from tests.faults.afterwards import look_at_living
from tests.study.engine import Replayed, count, make_study, start_driver, wait_for


def run(out: Path, objective: Any = None, **changes: Any) -> None:
    study = make_study(**changes)
    run_study(study, out=out, executor="local", count=count, objective=objective or Replayed(), stream=None)


def test_the_best_is_one_of_fresh_seeds_where_there_are_any(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, finalists=Finalists(count=1, seeds=(7,)))
    best = read_status(tmp_path)["best"]
    assert (best["role"], best["seed"], best["trial"]) == ("finalist", 7, 7)
    assert main(["status", str(tmp_path)]) == 0
    assert ", trial 7, fresh seed 7, " in capsys.readouterr().out


def test_one_seed_each_is_cautioned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    caution = "(one seed each: differences may be due to chance)"
    for name, seeds, cautioned in (("one", (0,), True), ("two", (0, 1), False)):
        run(tmp_path / name, seeds=seeds)
        assert main(["status", str(tmp_path / name)]) == 0
        assert (caution in capsys.readouterr().out) is cautioned


def test_a_living_and_a_killed_driver(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    driver = start_driver(out, executor="local", objective={"hold": 2, "fail": {"fpn": "raise"}})
    wait_for(lambda: (out / "trials" / "2" / "checkpoint.pt").exists())
    status = read_status(out)
    assert status["states"] == {"planned": 4, "running": 1, "complete": 1, "stopped": 0, "failed": 0}
    assert (status["driver"]["pid"], status["driver"]["host"]) == (driver.pid, platform.node())
    assert status["killed"] is None
    assert status["seconds_left"] > 0
    assert status["best"]["trial"] == 1
    (running,) = status["running"]
    assert {name: running[name] for name in ("trial", "seed", "epoch", "epochs", "ap", "gmacs")} == {
        "trial": 2, "seed": 0, "epoch": 1, "epochs": 3, "ap": 33.5, "gmacs": 1.92,
    }  # fmt: skip
    assert main(["status", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(out)
    assert lines[1] == "  question  Does the engine work?"
    assert lines[2].startswith(f"  driver    process {driver.pid} on {platform.node()}, since 20")
    assert lines[3].startswith("  trials    1 of 6 trials complete, 1 running, 4 to go, about ")
    assert lines[4].startswith("  best      ap 19.5, trial 1, seed 0, 0.96 gmacs: mobilenetv3_small_050, ")
    assert lines[5].split() == ["trial", "epoch", "loss", "ap", "gmacs", "seed", "architecture"]
    assert lines[6].split()[:6] == ["2", "1/3", "1.000", "33.5", "1.920", "0"]
    assert "none P3-P7" in lines[6]
    look_at_living(out)

    driver.kill()
    driver.communicate(timeout=300)
    capsys.readouterr()
    status = read_status(out)
    assert status["states"] == {"planned": 5, "running": 0, "complete": 1, "stopped": 0, "failed": 0}
    assert (status["driver"], status["killed"]["pid"], status["running"]) == (None, driver.pid, [])
    assert main(["status", str(out)]) == 0
    shown = capsys.readouterr().out
    assert f"none; the last one, process {driver.pid}, was killed; to continue: " in shown


def test_all_runs_are_shown_without_one_being_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["status"]) == 2
    assert "there is no run in runs/" in capsys.readouterr().err
    run(Path("runs/a"), Replayed(fail={"fpn": "raise", "bifpn": "nan"}), limits={"gmacs": 2.5})
    run(Path("runs/b"), objectives={"ap": "maximize"}, stopping=Halving(min_epochs=1, factor=3))
    assert main(["status"]) == 0
    shown = capsys.readouterr().out
    assert "2 of 5 trials complete, 3 failed (1 diverged, 2 error), 1 point rejected by limits\n" in shown
    assert "4 of 6 trials complete, 2 stopped\n" in shown
    assert shown.count("  driver    none\n") == 2
    assert main(["status", "runs/a", "--json"]) == 0
    (status,) = json.loads(capsys.readouterr().out)
    assert status["failures"] == {"error": 2, "diverged": 1}
    assert (status["rejected"], status["best"]["value"]) == (1, 35.5)

    Path("runs/c").mkdir()
    Path("runs/c/ledger.sqlite").write_text("no database, but a text that is long enough for the header of one")
    assert main(["status"]) == 2
    shown = capsys.readouterr().out
    assert "runs/c/ledger.sqlite cannot be read: file is not a database; it is damaged: " in shown.splitlines()[-1]
    assert shown.startswith("runs/a\n")
    assert main(["status", "runs/d"]) == 2
    assert "runs/d is not a run" in capsys.readouterr().err


def test_asking_does_not_stop_a_driver_from_starting(tmp_path: Path) -> None:
    """Who asks holds the lock for a moment; a driver that comes in it waits."""
    run(tmp_path, trials=1)
    for _ in range(20):
        lock = WriterLock(tmp_path / "driver.lock")
        lock.write({})
        assert read_status(tmp_path)["driver"]["pid"] == os.getpid()
        lock.release()
        assert read_status(tmp_path)["driver"] is None
