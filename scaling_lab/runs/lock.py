"""A lock for a single writer. The system releases it when its holder dies, and the file names the holder."""

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

# Seconds of patience: `status` holds the lock for a moment, and a killed writer's processes take time to end.
_MOMENT, _LINGERING, _PAUSE = 0.25, 15.0, 0.05


class WriterLock:
    """A lock file, held until `release`. Raises UserError where another process holds it.

    `what` names the written thing in the message (default: the file's folder), `option` the option that names another.
    `previous` is what the last holder wrote, if it was killed.
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
        """Record the holder, and what to clean up if it is killed. Raises WriteError."""
        started = datetime.now(UTC).isoformat(timespec="milliseconds")
        whole = {"pid": os.getpid(), "host": platform.node(), "started": started, **values}
        try:
            self._file.truncate(0)
            self._file.write(json.dumps(whole).encode())
        except OSError as error:
            raise cannot(self.path, "written", error) from error

    def leave(self) -> None:
        """Release the lock but keep the last holder's record, for the next holder to clean up."""
        self._file.close()

    def release(self) -> None:
        """Release the lock and empty its file."""
        self._file.truncate(0)
        self._file.close()

    def remove(self) -> None:
        """Release the lock and remove its file."""
        with contextlib.suppress(OSError):
            self.path.unlink()
        self._file.close()


@contextmanager
def only_writer(path: Path, *, what: Path | None = None, option: str | None = "--out") -> Iterator[None]:
    """Hold a lock file within the context, then remove it. Raises UserError like `WriterLock`."""
    lock = WriterLock(path, what=what, option=option)
    try:
        lock.write({})
        yield
    finally:
        lock.remove()


def read_holder(path: Path) -> dict[str, Any]:
    """Return the holder's record in a lock file, or an empty dict."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _taken(path: Path) -> FileIO:
    """Open and lock the file. Raises BlockingIOError where another process holds it, and WriteError."""
    start = time.monotonic()
    while True:
        try:
            # Unbuffered, so that closing the file does not retry a write to a full disk.
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
            file.close()  # its last holder removed it: this lock is on an unlinked file


def _is_at(file: FileIO, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(file.fileno()))


def _is_gone(holder: Mapping[str, Any]) -> bool:
    """Return whether the holder was a process of this machine that has ended."""
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
