"""A disk that fills up: the reason is said, what was computed stays, and the same command goes on once there is room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scaling_lab.cli import main
from tests.faults.afterwards import look_at
from tests.study.engine import ended, log, rows, start_driver

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("a small disk is a tmpfs, which this user may not mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("executor", ["local", "ray"])
def test_trials_that_find_no_room_go_on_later(disk: Path, executor: str) -> None:
    """Each keeps 2 MB: the third finds no room."""
    out = disk / "run"
    options: dict[str, Any] = {"executor": executor, "objective": {"ballast": 2 * 2**20}, "cpus": 1}
    driver = start_driver(out, **options)
    said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 2, said
    _assert_said(out, said)
    assert [row["state"] for row in rows(out)[:2]] == ["complete"] * 2
    assert "failed" not in {row["state"] for row in rows(out)}
    before = ended(out)
    assert list(before) == [1, 2]

    subprocess.run(["mount", "-o", "remount,size=60m", str(disk)], check=True)
    look_at(out)
    driver = start_driver(out, **options)
    said, _ = driver.communicate(timeout=300)
    assert (driver.returncode, said.splitlines()[-1]) == (0, "all 6 trials are done")
    assert [(row["state"], row["epochs_done"]) for row in rows(out)] == [("complete", 3)] * 6
    assert {trial: row for trial, row in ended(out).items() if trial in before} == before
    assert [len(log(out / "trials" / str(trial))) for trial in (1, 2)] == [4, 4]
    look_at(out)


def test_a_ledger_that_finds_no_room(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, ballast = disk / "run", disk / "ballast"
    options: dict[str, Any] = {"executor": "local", "study": {"trials": 2}}
    start_driver(out, **options).communicate(timeout=300)
    assert [row["state"] for row in rows(out)] == ["complete"] * 2
    before = rows(out)
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * os.statvfs(disk).f_bsize)
        except OSError:
            pass
    options["study"] = {"trials": 4}
    for _ in range(2):
        driver = start_driver(out, **options)
        said, _ = driver.communicate(timeout=300)
        assert driver.returncode == 2, said
        _assert_said(out, said)
        assert rows(out)[:2] == before
    assert main(["status", str(out)]) == main(["show", str(out)]) == 0
    assert main(["report", str(out)]) == 2
    assert "No space left on device" in capsys.readouterr().err
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=60m", str(disk)], check=True)
    look_at(out)
    driver = start_driver(out, **options)
    said, _ = driver.communicate(timeout=300)
    assert (driver.returncode, said.splitlines()[-1]) == (0, "all 4 trials are done")
    assert rows(out)[:2] == before
    look_at(out)


def _assert_said(out: Path, said: str) -> None:
    """The trial's folder is named, or the run's where not even the ledger can be written."""
    last = said.splitlines()[-1]
    assert last.startswith(str(out)), said
    assert "No space left on device" in last or "disk is full" in last
    assert last.endswith("; finished work is kept, and the same command continues")
    assert "Traceback" not in said
