"""The time limit of a trial: records where it hangs, and raises an exception in it.

The driver keeps the time and kills Ray's workers; workers record their stacks when the time is up.
"""

from __future__ import annotations

import faulthandler
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Time for a worker to record its stacks before it is killed.
GRACE = 1.0
# An exception in a destructor or a broad handler is lost, so it is raised again after this many seconds.
_AGAIN = 5.0


class TimeUp(BaseException):
    """Raised in a trial whose time is up. Handlers of Exception do not catch it."""


def past(seconds: float) -> str:
    """Return the message of a trial past its limit."""
    return f"not done after {seconds:g} s, the study's trial_seconds"


@contextmanager
def traced(folder: Path, seconds: float | None) -> Iterator[None]:
    """Write all threads' stacks to error.txt when the time is up, even in C code; else leave no file."""
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
    """Raise TimeUp in the main thread when the time is up. A hanging C call is not interrupted."""
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
    """Defer TimeUp until the block ends, so that files are written completely."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
