"""What is seen while a study runs: the trials, and a time left that is right when trials take as long as before."""

from __future__ import annotations

import io

import pytest

from scaling_lab import topologies
from scaling_lab.study.run.progress import Progress
from scaling_lab.study.run.trial import Outcome
from scaling_lab.study.search.proposal import Proposal
from scaling_lab.text import duration
from tests.study.engine import spec


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def proposal(trial: int, **changes: int) -> Proposal:
    values = {"epochs": 4, **changes}
    return Proposal(trial=trial, spec=spec(topologies.bifpn(3, 7)), seed=7, params={}, gmacs=1.234, **values)


def test_the_time_left() -> None:
    clock = Clock()
    progress = Progress(None, planned=5, states={"complete": 1}, concurrency=2, clock=clock)
    progress.started(proposal(2))
    progress.started(proposal(3))
    assert progress.seconds_left() is None
    clock.now += 10
    progress.reported(2, {"epoch": 1})
    progress.reported(3, {"epoch": 1})
    # Two run, with three epochs left each; two wait, with four: 14 epochs of 10 s, two at a time.
    assert progress.seconds_left() == pytest.approx(70)
    clock.now += 5
    assert progress.seconds_left() == pytest.approx(65)
    assert progress.summary() == "1 of 5 trials ended, 2 running, about 65 s left"


def test_the_longest_trial_bounds_the_time_left() -> None:
    clock = Clock()
    progress = Progress(None, planned=1, states={}, concurrency=8, clock=clock)
    progress.started(proposal(1))
    clock.now += 10
    progress.reported(1, {"epoch": 1})
    assert progress.seconds_left() == pytest.approx(30)


def test_a_trial_that_outlasts_its_estimate_claims_no_time_left() -> None:
    clock, written = Clock(), io.StringIO()
    progress = Progress(written, planned=1, states={}, clock=clock)
    progress.started(proposal(1))
    for seconds, said in ((10, True), (29, True), (20, False)):
        clock.now += seconds
        written.truncate(written.seek(0))
        progress.reported(1, {"epoch": 1})
        (line,) = (line for line in written.getvalue().splitlines() if line.startswith("trial"))
        assert (" s left " in line) == said, line
        assert (" s left" in progress.summary()) == said


def test_epochs_that_are_told_again_after_a_resume_are_no_measure() -> None:
    clock = Clock()
    progress = Progress(None, planned=1, states={}, clock=clock)
    progress.started(proposal(1, epochs_done=2))
    for epoch in (1, 2):
        progress.reported(1, {"epoch": epoch})
    assert progress.seconds_left() is None
    clock.now += 10
    progress.reported(1, {"epoch": 3})
    assert progress.seconds_left() == pytest.approx(10)


def test_a_trial_that_is_started_again_is_where_it_was() -> None:
    clock = Clock()
    progress = Progress(None, planned=1, states={}, clock=clock)
    progress.started(proposal(1))
    clock.now += 10
    progress.reported(1, {"epoch": 1})
    progress.started(proposal(1))
    progress.reported(1, {"epoch": 1})
    assert progress.seconds_left() == pytest.approx(30)


def test_failures_are_counted_by_kind() -> None:
    progress = Progress(None, planned=4, states={"complete": 1, "failed": 1}, kinds={"diverged": 1})
    progress.started(proposal(3))
    progress.ended(3, Outcome(state="failed", kind="time_limit", message="m"))
    assert progress.summary() == "3 of 4 trials ended (2 failed: 1 diverged, 1 time limit)"


def test_lines_every_five_seconds_and_at_the_end_of_a_trial() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream, planned=1, states={}, clock=clock)
    progress.started(proposal(1))
    for _ in range(10):
        clock.now += 1
        progress.tick()
    progress.reported(1, {"epoch": 2, "loss": 0.5, "ap": 41.23})
    progress.ended(1, Outcome(state="failed", kind="out_of_memory", message="too small"))
    lines = stream.getvalue().splitlines()
    assert len([line for line in lines if "running  " in line]) == 2
    words = "trial 1 failed epoch 2/4 loss 0.500 ap 41.2 1.23 gmacs seed 7 bifpn P3-P7 fast x1, width 16, 64 px, "
    assert " ".join(lines[-2].split()) == words + "mobilenetv3_small_050"
    assert lines[-1].strip() == "out of memory: too small"
    assert "\033" not in stream.getvalue()


def test_a_terminal_is_updated_in_place() -> None:
    clock, stream = Clock(), Terminal()
    progress = Progress(stream, planned=2, states={}, clock=clock)
    progress.started(proposal(1))
    for _ in range(3):
        clock.now += 1
        progress.tick()
    assert stream.getvalue().count("\033[3F\033[J") == 2  # the trial's line wraps at 80 columns
    progress.close()
    assert stream.getvalue().endswith("\033[3F\033[J")


def test_durations() -> None:
    assert [duration(s) for s in (4.4, 89, 91, 5399, 5401)] == ["4 s", "89 s", "2 min", "90 min", "1.5 h"]
