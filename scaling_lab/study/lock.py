"""One driver for one run: a lock that the system takes back when its holder dies. It says who holds it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaling_lab.errors import UserError
from scaling_lab.study.ledger.database import now


class DriverLock:
    """Hold a run's lock file until `release`. Raises UserError where another driver holds it.

    `previous` is what the last driver wrote, which may have been killed.
    """

    def __init__(self, path: Path) -> None:
        try:
            # Unbuffered: what a full disk does not take is not tried again when the file is closed.
            self._file = path.open("ab+", buffering=0)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}") from None
        try:
            self._lock()
        except BlockingIOError:
            holder = _read(path)
            self._file.close()
            raise UserError(
                f"{path.parent} is being written by process {holder.get('pid', '?')} on {holder.get('host', '?')} "
                f"since {holder.get('started', '?')}; wait until it ends or stop it, or give another folder with --out"
            ) from None
        except OSError as error:
            self._file.close()
            raise UserError(f"{path} cannot be locked: {error.strerror}") from None
        self.previous = _read(path)

    def _lock(self) -> None:
        """Take the lock; who asks for a run's status holds it for a moment."""
        for _ in range(5):
            with contextlib.suppress(BlockingIOError):
                return fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            time.sleep(0.05)
        return fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, values: Mapping[str, Any]) -> None:
        """Say who holds the lock, and what has to be cleaned up if it is killed."""
        whole = {"pid": os.getpid(), "host": platform.node(), "started": now(), **values}
        self._file.truncate(0)
        self._file.write(json.dumps(whole).encode())

    def leave(self) -> None:
        """Let go of the lock, and leave what the last driver wrote: who goes on has to clean up after it."""
        self._file.close()

    def release(self) -> None:
        """Let go of the lock; the file stays, or two drivers could hold locks on different files of one name."""
        self._file.truncate(0)
        self._file.close()


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return values if isinstance(values, dict) else {}
