"""One writer for what is written over time: a lock that the system takes back when its holder dies. It says who holds it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

from scaling_lab.errors import UserError
from scaling_lab.files import cannot

# Seconds: who asks for a status holds the lock for a moment; the processes of a writer that was killed take some to end.
_MOMENT, _LINGERING, _PAUSE = 0.25, 15.0, 0.05


class WriterLock:
    """Hold a lock file until `release`. Raises UserError where another process holds it.

    `what` is said to be written (the file's folder), and `option` to name another. `previous` is what the last holder wrote,
    if it did not let go by itself.
    """

    def __init__(self, path: Path, *, what: Path | None = None, option: str | None = "--out") -> None:
        self.path = path
        try:
            self._file = _taken(path)
        except BlockingIOError:
            there = read_holder(path)
            another = "" if option is None else f", or name another with {option}"
            raise UserError(
                f"{what or path.parent} is being written by process {there.get('pid', '?')} on {there.get('host', '?')} since "
                f"{there.get('started', '?')}; wait until it ends or stop it{another}"
            ) from None
        self.previous = read_holder(path)

    def write(self, values: Mapping[str, Any]) -> None:
        """Say who holds the lock, and what has to be cleaned up if it is killed. Raises WriteError."""
        started = datetime.now(UTC).isoformat(timespec="milliseconds")
        whole = {"pid": os.getpid(), "host": platform.node(), "started": started, **values}
        try:
            self._file.truncate(0)
            self._file.write(json.dumps(whole).encode())
        except OSError as error:
            raise cannot(self.path, "written", error) from error

    def leave(self) -> None:
        """Let go of the lock, and leave what the last holder wrote: who goes on has to clean up after it."""
        self._file.close()

    def release(self) -> None:
        """Let go of the lock; the file stays, empty."""
        self._file.truncate(0)
        self._file.close()

    def remove(self) -> None:
        """Let go of the lock, and leave no file."""
        with contextlib.suppress(OSError):
            self.path.unlink()
        self._file.close()


@contextmanager
def only_writer(path: Path, *, what: Path | None = None, option: str | None = "--out") -> Iterator[None]:
    """Hold a lock file within, and leave none. Raises UserError as `WriterLock` does."""
    lock = WriterLock(path, what=what, option=option)
    try:
        lock.write({})
        yield
    finally:
        lock.remove()


def read_holder(path: Path) -> dict[str, Any]:
    """Give what a lock file says of its holder; nothing where it says nothing."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _taken(path: Path) -> FileIO:
    """Open the file and lock it. Raises BlockingIOError where another holds it, and WriteError."""
    start = time.monotonic()
    while True:
        try:
            # Unbuffered: what a full disk does not take is not tried again when the file is closed.
            file = FileIO(path, "ab+")
        except OSError as error:
            raise cannot(path, "written", error) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            if time.monotonic() - start > (_LINGERING if _is_gone(read_holder(path)) else _MOMENT):
                raise
            time.sleep(_PAUSE)
        except OSError as error:
            file.close()
            raise cannot(path, "locked", error) from error
        else:
            if _is_at(file, path):
                return file
            file.close()  # its last holder has removed it: the lock is of a file that nobody else will find


def _is_at(file: FileIO, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(file.fileno()))


def _is_gone(holder: Mapping[str, Any]) -> bool:
    """Whether the holder was a process of this machine that has ended."""
    pid = holder.get("pid")
    if holder.get("host") != platform.node() or not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
