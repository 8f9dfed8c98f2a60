"""A trial's files on the node where it runs, and their copy in a storage that all nodes reach.

    fetch   the copy -> the folder, where the copy is of a later state
    copy    what has changed in the folder -> the copy: before each report, from time to time, and at the end

The file `copied` holds a mark that is new with each copy, here and there. So a folder whose mark is the copy's is of the same
or a later state, and is kept. Any other is of an earlier attempt on this node, and is replaced.
"""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from scaling_lab.files import WriteError, is_unfinished, write_whole
from scaling_lab.runs.reader import RunFolder
from scaling_lab.storage import Storage, StorageError

# Seconds between two looks for checkpoints that are written within an epoch.
SECONDS = 60.0
MARK = "copied"
_CHECKPOINT = "checkpoint.pt"
_ELSEWHERE = "meeting-"


class TrialCopies:
    """Keeps the copy of one trial's folder in the storage up to date."""

    def __init__(self, folder: Path, storage: Storage) -> None:
        self._folder, self._storage = folder, storage
        self._copied: dict[str, tuple[int, int]] = {}
        self._busy = threading.Lock()

    def fetch(self) -> None:
        """Bring the folder to the state of the copy, unless it is that or a later one. Raises StorageError and WriteError."""
        mark = self._storage.read(MARK)
        own = self._folder / MARK
        if mark is None or (own.is_file() and own.read_bytes() == mark):
            return
        for path in list(self._folder.iterdir()) if self._folder.is_dir() else []:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name in sorted(self._storage.names(), key=_order):
            self._storage.get(name, self._folder / name)
        self._copied = self._states()

    def copy(self) -> None:
        """Copy what has changed since the last copy. Raises StorageError."""
        with self._busy:
            states = self._states()
            changed = [name for name, state in states.items() if self._copied.get(name) != state]
            if not changed:
                return
            for name in sorted(changed, key=_order):
                self._storage.put(self._folder / name, name)
            mark = secrets.token_hex(16)
            self._storage.write(MARK, mark.encode())
            write_whole(self._folder / MARK, mark)
            self._copied = states

    @contextmanager
    def watched(self) -> Iterator[Callable[[], None]]:
        """Copy from time to time and at the end; yield what copies at once.

        A copy that fails is tried again at the next occasion; the first and the last raise StorageError.
        """
        ended = threading.Event()

        def copy() -> None:
            with suppress(StorageError) if self._copied else nullcontext():
                self.copy()

        def watch() -> None:
            while not ended.wait(SECONDS):
                with suppress(Exception):  # the next report or the end says why
                    self.copy()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield copy
        except BaseException:  # which matters more than a copy
            _end(watcher, ended)
            with suppress(StorageError):
                self.copy()
            raise
        _end(watcher, ended)
        self.copy()

    def leave(self) -> None:
        """Copy what came last, such as error.txt, and remove the folder from a node that is not the driver's."""
        try:
            self.copy()
        except (StorageError, WriteError, OSError):  # the folder may be all that is left
            return
        if not RunFolder(self._folder.parents[1]).has_ledger:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _states(self) -> dict[str, tuple[int, int]]:
        """Return time and size of the folder's files by name."""
        found = {}
        for path in self._folder.rglob("*"):
            name = path.relative_to(self._folder).as_posix()
            is_own = name != MARK and not name.startswith(_ELSEWHERE) and not any(map(is_unfinished, path.parents))
            with suppress(FileNotFoundError):  # replaced meanwhile
                if is_own and path.is_file():
                    seen = path.stat()
                    found[name] = seen.st_mtime_ns, seen.st_size
        return found


def _end(watcher: threading.Thread, ended: threading.Event) -> None:
    ended.set()
    watcher.join()


def _order(name: str) -> int:
    """Return the place of a file in a copy, whole or cut short: what a checkpoint continues comes before it."""
    return (name == _CHECKPOINT) + 2 * (name == MARK)
