"""Ending the processes that a run has started, and no others: they carry the run's mark in their environment.

Ray's own stop leaves agents behind where the driver was killed, and goes by name; this goes by process id alone. It
also runs as a watchdog, `python processes.py MARK`, that ends them when its driver is gone.
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

# Ray's sockets lie 67 characters deeper, and a socket's path may have 107.
_LONGEST_FOLDER = 40


def make_mark() -> str:
    """Give a mark that no other run has."""
    return secrets.token_hex(6)


def is_mark(value: object) -> bool:
    """Say whether a value read from a file can be a mark: it becomes part of a folder's name that is removed."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{12}", value) is not None


def temporary_folder(mark: str) -> Path:
    """Name the folder for a run's sockets and logs, which lives as long as its processes."""
    folder = Path(tempfile.gettempdir()) / f"scaling_lab_{mark}"
    return folder if len(str(folder)) <= _LONGEST_FOLDER else Path("/tmp") / folder.name


def marked(mark: str) -> list[int]:
    """Give the ids of all other living processes with this mark; none where the system does not tell."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        # A process may have ended meanwhile, or be another user's.
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return [pid for pid in found if pid != os.getpid()]


def clean_up(mark: str, *, patience: float = 5.0) -> list[int]:
    """End what is left of a run: wait, then SIGKILL; remove its temporary folder. Give the ids of those killed."""
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
        left = marked(mark)  # some may have started others while they were being ended
    _remove(temporary_folder(mark))
    return sorted(killed)


def _remove(folder: Path, *, patience: float = 5.0) -> None:
    """Remove a folder, again where something was written into it or removed beside: its driver may still be ending."""
    deadline = time.monotonic() + patience
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


@contextmanager
def watched(mark: str) -> Iterator[None]:
    """Mark all processes that are started within, and see to it that they end, even if this process is killed."""
    # As a file it imports nothing else of ours and starts in 30 ms; -P keeps this folder off its path.
    command = [sys.executable, "-P", __file__, mark]
    # Its own session: Ctrl-C in a terminal goes to every process of the driver's.
    watchdog = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    os.environ[MARK] = mark
    try:
        yield
    finally:
        del os.environ[MARK]
        clean_up(mark)
        watchdog.communicate()


def _watch(mark: str) -> None:
    sys.stdin.read()  # ends when the driver closes its end, or is gone
    clean_up(mark, patience=0)


if __name__ == "__main__":
    _watch(sys.argv[1])
