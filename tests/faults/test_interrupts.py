"""Ctrl-C more than once, or while the first is being obeyed: nobody is left behind; the run can be read and goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from scaling_lab.runs.lock import read_holder
from scaling_lab.runs.reader import Runs
from scaling_lab.study.run.processes import marked, temporary_folder
from tests.faults.afterwards import look_at
from tests.study.engine import rows, start_driver, wait_for


@pytest.mark.parametrize(
    ("executor", "pauses"),
    [
        ("local", (0.2, 0.2)),
        ("local", (0.0, 0.0)),
        ("local", (0.05, 1.0, 0.3)),
        ("ray", (0.0, 0.0)),
        ("ray", (0.05, 1.0, 0.3)),
    ],
    ids=str,
)
@pytest.mark.slow
def test_ctrl_c_again_and_again(tmp_path: Path, executor: str, pauses: tuple[float, ...]) -> None:
    out = tmp_path / "run"
    driver = start_driver(out, executor=executor, objective={"hold": 2}, study={"trials": 3}, cpus=1)
    wait_for(lambda: (out / "trials" / "2" / "checkpoint.pt").exists())
    mark = read_holder(out / "driver.lock")["mark"]
    os.killpg(driver.pid, signal.SIGINT)
    for pause in pauses:
        time.sleep(pause)
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.killpg(driver.pid, signal.SIGINT)
    said, _ = driver.communicate(timeout=300)
    # A signal that comes when Python has ended all but itself is the system's to answer; a shell calls both 130.
    assert driver.returncode in (130, -signal.SIGINT), said
    assert "Traceback" not in said
    assert said.count("stopping …") == 1
    wait_for(lambda: not marked(mark))
    wait_for(lambda: not temporary_folder(mark).exists())
    assert [row["state"] for row in rows(out)] == ["complete", "planned", "planned"]
    look_at(out)

    driver = start_driver(out, executor="local", study={"trials": 3})
    said, _ = driver.communicate(timeout=300)
    assert (driver.returncode, said.splitlines()[-1]) == (0, "all 3 trials are done")
    assert len(Runs(out).epochs()) == 9
    look_at(out)
