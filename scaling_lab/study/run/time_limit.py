"""The time that a trial may take: writing down where it hangs, and raising in the middle of it. It kills no process.

Ray's workers are killed by the driver, which has the clock; they write down what they do when the time is up.
"""

from __future__ import annotations

import faulthandler
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Between the time's end and the kill a worker writes down what it does.
GRACE = 1.0
# An exception in a destructor or in careless code is lost; it is raised again after so many seconds.
_AGAIN = 5.0


class TimeUp(BaseException):
    """Raised in the middle of a trial whose time is up: no clause for errors catches it."""


def past(seconds: float) -> str:
    """Say that a trial is past its limit."""
    return f"not done after {seconds:g} s, the study's trial_seconds"


@contextmanager
def traced(folder: Path, seconds: float | None) -> Iterator[None]:
    """Write what all threads do into error.txt when the time is up, be they in C code; else leave no such file."""
    if seconds is None:
        yield
        return
    path = folder / "error.txt"
    with path.open("w", encoding="utf-8") as file:
        faulthandler.dump_traceback_later(seconds, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            path.unlink()


@contextmanager
def raising(seconds: float | None) -> Iterator[None]:
    """Raise TimeUp in the main thread when the time is up; a call of C code that does not come back, it cannot end."""
    if seconds is None:
        yield
        return

    def handle(number: int, frame: object) -> None:
        raise TimeUp(past(seconds))

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def not_now() -> Iterator[None]:
    """Put TimeUp off to the end: what is written meanwhile is written whole."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
