"""SIGINT, SIGTERM and SIGHUP as KeyboardInterrupt, at once or deferred."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible(say: Callable[[str], None], *, at_once: bool) -> Iterator[Callable[[], bool]]:
    """Turn SIGINT, SIGTERM and SIGHUP into KeyboardInterrupt at once, or yield a function that tells whether one arrived.

    The first signal is answered with a line, since a clean stop takes seconds; the second always interrupts. SIGHUP stays
    ignored where it is, as under nohup. Outside the main thread, which alone can handle signals, nothing changes.
    """
    seen: list[int] = []
    is_saying = False

    def handle(number: int, frame: object) -> None:
        nonlocal is_saying
        seen.append(number)
        if is_saying:  # the first signal's handler is still running and will interrupt for this one too
            return
        if len(seen) == 1:
            is_saying = True
            # The signal may interrupt another write to the stream, or the reader may be gone.
            with contextlib.suppress(RuntimeError, OSError):
                say("stopping …")
            is_saying = False
        if at_once or len(seen) > 1:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    hangs_up = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
    heard = [number for number in STOPPING if number != signal.SIGHUP or hangs_up]
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore SIGINT, SIGTERM and SIGHUP within the context, while a stopped run is closed."""
    with handlers_kept():
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                signal.signal(number, signal.SIG_IGN)
        yield


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Restore the signal handlers at the end, since Ray replaces SIGTERM's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
