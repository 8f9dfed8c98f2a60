"""The time that a trial may take, in one process: ended wherever Python's code is, and whole in the ledger."""

from __future__ import annotations

import io
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from scaling_lab import DetectorSpec, topologies
from scaling_lab.errors import UserError
from scaling_lab.runs.reader import Runs
from scaling_lab.study.run.runner import run_study
from scaling_lab.study.run.time_limit import TimeUp, not_now, raising, traced
from tests.faults.afterwards import look_at
from tests.study.engine import Replayed, count, log, make_study, rows, spec, wait_for


def space(trial: Any) -> DetectorSpec:
    """Two points, of which the second is not to suffer from the first."""
    return spec(getattr(topologies, trial.suggest_categorical("topology", ["none", "fpn"]))(3, 7))


def run(out: Path, objective: Replayed, *, seconds: float, **options: Any) -> str:
    stream = io.StringIO()
    study = make_study(space=space, trial_seconds=seconds)
    run_study(study, out=out, executor="local", count=count, objective=objective, stream=stream, **options)
    return stream.getvalue()


def test_a_trial_past_its_time_fails_and_goes_on_when_asked_for(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGALRM)
    said = run(tmp_path, Replayed(fail={"none": "loop"}), seconds=3)
    assert [(row["state"], row["epochs_done"]) for row in rows(tmp_path)] == [("failed", 1), ("complete", 3)]
    assert [row["failure_kind"] for row in rows(tmp_path)] == ["time_limit", None]
    assert rows(tmp_path)[0]["failure_message"] == "not done after 3 s, the study's trial_seconds"
    assert "time limit: not done after 3 s" in said
    assert "in _loop" in (tmp_path / "trials" / "1" / "error.txt").read_text()
    assert signal.getsignal(signal.SIGALRM) == before
    look_at(tmp_path)

    run(tmp_path, Replayed(), seconds=600, retry_failed=True)
    assert [(row["state"], row["epochs_done"]) for row in rows(tmp_path)] == [("complete", 3)] * 2
    words = [line.split(maxsplit=1)[1] for line in log(tmp_path / "trials" / "1")]
    assert words == ["start at 0", "epoch 1", "start at 1", "epoch 2", "epoch 3"]
    assert len(Runs(tmp_path).epochs()) == 6
    look_at(tmp_path)


def test_what_is_being_written_is_written_whole() -> None:
    done = []

    def write() -> None:
        with not_now():
            signal.raise_signal(signal.SIGALRM)
            done.append("this")
        done.append("not this")

    with pytest.raises(TimeUp), raising(600):
        write()
    assert done == ["this"]


def test_an_exception_that_was_swallowed_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaling_lab.study.run.time_limit._AGAIN", 0.5)
    raised = []

    def swallow_the_first() -> None:
        try:
            time.sleep(600)
        except BaseException:
            raised.append(1)
        time.sleep(600)

    with pytest.raises(TimeUp), raising(0.5):
        swallow_the_first()
    assert raised == [1]


def test_a_trial_within_its_time_leaves_no_traceback(tmp_path: Path) -> None:
    with traced(tmp_path, 600):
        pass
    with pytest.raises(ZeroDivisionError), traced(tmp_path, 600):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_what_it_does_when_the_time_is_up_is_written_down(tmp_path: Path) -> None:
    with traced(tmp_path, 0.05):
        text = wait_for(lambda: (tmp_path / "error.txt").read_text())
    assert "most recent call first" in text


def test_a_thread_cannot_be_interrupted(tmp_path: Path) -> None:
    errors: list[str] = []

    def work() -> None:
        try:
            run(tmp_path, Replayed(), seconds=1)
        except UserError as error:
            errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == ["trial_seconds needs Ray, or the local executor in a program's main thread"]


def test_a_limit_is_a_time() -> None:
    with pytest.raises(UserError, match="trial_seconds is 0; allowed are finite numbers above 0"):
        make_study(trial_seconds=0)
