"""Ending what a run has started, by its mark, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scaling_lab.study.run.processes import MARK, clean_up, is_mark, make_mark, marked, temporary_folder, watched
from tests.study.engine import wait_for

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_only_marked_processes_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = make_mark()
    other = subprocess.Popen(SLEEP)
    monkeypatch.setenv(MARK, mark)
    ours = subprocess.Popen(SLEEP)
    wait_for(lambda: marked(mark) == [ours.pid])
    temporary_folder(mark).mkdir()
    assert clean_up(mark, patience=0.1) == [ours.pid]
    assert ours.wait() == -9
    assert other.poll() is None
    assert not temporary_folder(mark).exists()
    other.kill()
    other.wait()


def test_the_watchdog_ends_them_when_the_driver_is_killed(tmp_path: Path) -> None:
    mark = make_mark()
    code = (
        "import subprocess, sys, time\n"
        "from scaling_lab.study.run.processes import watched\n"
        f"with watched({mark!r}):\n"
        f"    subprocess.Popen({SLEEP!r})\n"
        "    print('started', flush=True)\n"
        "    time.sleep(600)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "started\n"
    assert len(marked(mark)) == 1
    driver.kill()
    driver.wait()
    driver.stdout.close()
    wait_for(lambda: not marked(mark))


def test_those_that_end_by_themselves_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = make_mark()
    monkeypatch.setenv(MARK, mark)
    child = subprocess.Popen(["sleep", "0.2"])
    assert clean_up(mark, patience=600) == []
    assert child.wait() == 0


def test_watched_leaves_nothing() -> None:
    mark = make_mark()
    with watched(mark):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        assert marked(mark)
        temporary_folder(mark).mkdir()
        assert child.stdin is not None
        child.stdin.close()  # it ends by itself
    assert not marked(mark)
    assert child.wait() in (0, -9)  # killed, where the machine has stalled for longer than we wait
    assert not temporary_folder(mark).exists()
    assert MARK not in os.environ


def test_what_is_read_from_a_file_is_checked() -> None:
    assert is_mark(make_mark())
    assert not any(is_mark(value) for value in ("x/../../home", "", None, 3, make_mark() + "\n"))
