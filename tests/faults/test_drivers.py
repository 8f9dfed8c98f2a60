"""Drivers killed at any moment: the same command again and again until it ends, with nothing lost and nothing twice."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from scaling_lab.runs.lock import read_holder
from scaling_lab.runs.reader import Runs
from scaling_lab.study.run.processes import is_mark, marked, temporary_folder
from scaling_lab.study.run.runner import run_study
from tests.faults.afterwards import look_at, look_at_all
from tests.study.engine import (
    Replayed,
    assert_each_epoch_once,
    count,
    ended,
    log,
    make_study,
    rows,
    start_driver,
    wait_for,
)

pytestmark = pytest.mark.slow

KILLS = {"local": 10, "ray": 4}  # a Ray is started for each
STUDY: dict[str, Any] = {"seeds": (0, 1)}


@pytest.mark.parametrize("executor", ["local", "ray"])
def test_a_driver_killed_at_many_moments(tmp_path: Path, executor: str) -> None:
    chance = random.Random(f"{executor} 5")
    out, marks = tmp_path / "run", set()
    options: dict[str, Any] = {"executor": executor, "study": STUDY, "objective": {"pause": 0.2}}
    for _ in range(KILLS[executor]):
        driver = start_driver(out, **options)
        _wait_a_while(driver, out, chance)
        driver.kill()
        said, _ = driver.communicate(timeout=300)
        assert driver.returncode == -signal.SIGKILL, said
        marks.add(read_holder(out / "driver.lock").get("mark"))
    before = ended(out)
    look_at_all(out)
    driver = start_driver(out, **options)
    said, _ = driver.communicate(timeout=500)
    assert (driver.returncode, said.splitlines()[-1]) == (0, "all 12 trials are done")
    assert "Traceback" not in said

    run_study(
        make_study(**STUDY),
        out=tmp_path / "undisturbed",
        executor="local",
        count=count,
        objective=Replayed(),
        stream=None,
    )
    assert rows(out) == rows(tmp_path / "undisturbed")
    assert len({(row["architecture"], row["seed"]) for row in rows(out)}) == len(rows(out)) == 12
    assert {trial: row for trial, row in ended(out).items() if trial in before} == before
    assert Runs(out).epochs().equals(Runs(tmp_path / "undisturbed").epochs())
    for trial in range(1, 13):
        assert_each_epoch_once(log(out / "trials" / str(trial)))
    look_at(out)
    for mark in filter(is_mark, marks):
        wait_for(lambda mark=mark: not marked(mark))
        wait_for(lambda mark=mark: not temporary_folder(mark).exists())


def _wait_a_while(driver: subprocess.Popen[str], out: Path, chance: random.Random) -> None:
    """Wait for a random moment: while the driver starts, or within an epoch of a trial that it runs."""
    lines = chance.randrange(4)
    if lines == 0:
        time.sleep(chance.uniform(0, 5))
        return
    before = _lines(out)
    wait_for(lambda: _lines(out) >= before + lines or driver.poll() is not None)
    time.sleep(chance.uniform(0, 0.3))


def _lines(out: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in out.glob("trials/*/log.txt"))
