"""Ends the processes that a run started, found by the run's mark in their environment.

Ray's own stop leaves agents behind when the driver was killed, and selects by name; this selects by process id. As a
program, `python processes.py MARK`, it is a watchdog that ends the processes when its driver is gone.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MARK = "SCALING_LAB_RUN"

# A socket's path may have 107 characters, and Ray adds 67.
_LONGEST_FOLDER = 40


def make_mark() -> str:
    """Return a unique mark for a run."""
    return secrets.token_hex(6)


def is_mark(value: object) -> bool:
    """Return whether a value read from a file is a valid mark, since it names a folder to remove."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{12}", value) is not None


def temporary_folder(mark: str) -> Path:
    """Return the folder of a run's sockets and logs, which lives as long as its processes."""
    folder = Path(tempfile.gettempdir()) / f"scaling_lab_{mark}"
    return folder if len(str(folder)) <= _LONGEST_FOLDER else Path("/tmp") / folder.name


def marked(mark: str) -> list[int]:
    """Return the ids of all other living processes with this mark; none on systems without /proc."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        # A process may have ended, or belong to another user.
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return [pid for pid in found if pid != os.getpid()]


def clean_up(mark: str, *, patience: float = 5.0) -> list[int]:
    """End a run's processes: wait, then SIGKILL; remove its temporary folder. Return the killed ids."""
    deadline = time.monotonic() + patience
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    killed: set[int] = set()
    while left:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed.update(left)
        time.sleep(0.05)
        left = marked(mark)  # they may have started others in the meantime
    _remove(temporary_folder(mark))
    return sorted(killed)


def _remove(folder: Path, *, patience: float = 5.0) -> None:
    """Remove a folder, and retry while an ending driver still changes it."""
    deadline = time.monotonic() + patience
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


@contextmanager
def watched(mark: str) -> Iterator[None]:
    """Mark all processes started within, and end them at exit, even if this process is killed."""
    # Run as a file, it imports no package code and starts in 30 ms; -P keeps this folder off its path.
    command = [sys.executable, "-P", __file__, mark]
    # Its own session, since Ctrl-C in a terminal reaches every process of the driver's session.
    watchdog = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    os.environ[MARK] = mark
    try:
        yield
    finally:
        del os.environ[MARK]
        clean_up(mark)
        watchdog.communicate()


def _watch(mark: str) -> None:
    sys.stdin.read()  # returns when the driver closes the pipe or dies
    clean_up(mark, patience=0)


if __name__ == "__main__":
    _watch(sys.argv[1])
