"""The driver's copies of a run in a storage: the ledger and what belongs to it, from which a new driver continues.

    <storage>/<run>/ledger.sqlite, specs/, samples/, provenance.json, report/      copied by the driver
    <storage>/<run>/trials/<id>/                                                  copied by the trial's node
    <storage>/<run>/driver.json                                                   the driver that writes here

The ledger itself stays on the driver's disk. A driver that finds no ledger there takes the copy.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from itertools import count as count_from
from pathlib import Path
from typing import Any

from scaling_lab.errors import UserError
from scaling_lab.runs.reader import RunFolder
from scaling_lab.storage import Storage, StorageError
from scaling_lab.study.run.trial_copies import TrialCopies

# Seconds between two copies of the ledger while trials run.
SECONDS = 120.0
_LEDGER, _DRIVER = "ledger.sqlite", "driver.json"
# What reports and people read of a trial; a driver's disk need not hold all weights.
_SMALL = ("detections.json", "epochs.jsonl", "error.txt")


class RunCopies:
    """Keeps the copy of a run up to date. `say` gets a line where a copy fails."""

    def __init__(self, folder: RunFolder, url: str, say: Callable[[str], None] = lambda text: None) -> None:
        self.say = say
        self._folder = folder
        self.storage = Storage(url).at(folder.path.resolve().name)
        self._copied: dict[str, tuple[int, int]] = {}
        self._last = time.monotonic()
        self._is_failing = False
        self._driver = b""

    def storage_of(self, trial: int) -> Storage:
        """Return the place of a trial's files."""
        return self.storage.at(f"trials/{trial}")

    # --- at the start ------------------------------------------------------------------------------------------------

    def take_over(self) -> bool:
        """Take the copy where the folder has no ledger, and return whether it was. Raises StorageError and UserError.

        Raises UserError where the copy is of another run, or of later sessions than the folder's.
        """
        with tempfile.TemporaryDirectory() as temporary:
            copy = Path(temporary, _LEDGER)
            names = self.storage.names()
            if _LEDGER in names:
                self.storage.get(_LEDGER, copy)
                if self._folder.has_ledger:
                    self._compare(copy)
        if _LEDGER not in names or self._folder.has_ledger:
            return False
        fetch_run(self.storage, self._folder, names=names)
        return True

    def begin(self, mark: str) -> None:
        """Name this driver as the one that writes to the copy, and copy what it lacks. Raises StorageError."""
        self._driver = json.dumps({"mark": mark, "host": platform.node(), "pid": os.getpid()}).encode()
        self.storage.write(_DRIVER, self._driver)
        there = set(self.storage.names())
        for path in sorted(self._folder.trials.glob("*/")):
            if not any(name.startswith(f"trials/{path.name}/") for name in there):  # of a session without storage
                TrialCopies(path, self.storage.at(f"trials/{path.name}")).copy()

    def _compare(self, copy: Path) -> None:
        there, here = _sessions(copy), _sessions(self._folder.ledger)
        if there != here[: len(there)]:
            which = "later sessions of this run" if here == there[: len(here)] else "another run"
            raise UserError(
                f"{self.storage.url} has {which}; remove {self._folder.path} to continue from there, or give another "
                "--out or --storage"
            )

    # --- while trials run --------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Copy the ledger from time to time. Raises UserError where another driver writes to the copy."""
        if time.monotonic() - self._last > SECONDS:
            self._try(self.copy)

    def trial_ended(self, trial: int) -> None:
        """Copy the ledger, and bring a trial's small files here. Raises UserError as `tick`."""

        def fetch_and_copy() -> None:
            self._fetch(trial)
            self.copy()

        self._try(fetch_and_copy)

    def copy(self) -> None:
        """Copy the ledger and changed files around it. Raises StorageError, and UserError as `tick`."""
        self._last = time.monotonic()
        if (found := self.storage.read(_DRIVER)) not in (None, self._driver):
            other = _values(found)
            raise UserError(
                f"{self.storage.url} is being written by process {other.get('pid', '?')} on {other.get('host', '?')}, which "
                "has started since; this driver stops"
            )
        with tempfile.TemporaryDirectory() as temporary:
            snapshot = Path(temporary, _LEDGER)
            _snapshot(self._folder.ledger, snapshot)
            self.storage.put(snapshot, _LEDGER)
        for root in (self._folder.specs, self._folder.samples, self._folder.provenance):
            self._copy_changed(root)

    def copy_report(self) -> None:
        """Copy the report. Raises StorageError."""
        self._copy_changed(self._folder.report)

    def copy_if_possible(self) -> None:
        """Copy at the end of a session; say what is in the way."""
        try:
            self.copy()
        except (UserError, OSError, sqlite3.Error) as error:
            self.say(f"{error}; {self._folder.path} is whole, and the same command copies it")

    def set_aside(self, trial: int) -> None:
        """Move a failed trial's files to a name that is free here and there. Raises StorageError."""
        own, there = self._folder.trial(trial), self.storage.names()
        names = (f"{trial}.failed-{number}" for number in count_from(1))
        taken = {name.split("/")[1] for name in there if name.startswith("trials/")}
        new = next(name for name in names if name not in taken and not own.with_name(name).exists())
        if str(trial) in taken:
            self.storage.rename(f"trials/{trial}", f"trials/{new}")
        if own.exists():
            own.rename(own.with_name(new))

    def _fetch(self, trial: int) -> None:
        storage, own = self.storage_of(trial), self._folder.trial(trial)
        for name in set(storage.names()) & set(_SMALL):
            if not (own / name).exists():
                storage.get(name, own / name)

    def _copy_changed(self, root: Path) -> None:
        files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
        for path in files:
            name, seen = path.relative_to(self._folder.path).as_posix(), path.stat()
            state = seen.st_mtime_ns, seen.st_size
            if self._copied.get(name) != state:
                self.storage.put(path, name)
                self._copied[name] = state

    def _try(self, work: Callable[[], None]) -> None:
        """Copy, and say so the first time that it fails: the folder here is whole."""
        try:
            work()
            self._is_failing = False
        except StorageError as error:
            if not self._is_failing:
                self.say(f"{error}; it will be tried again")
            self._is_failing = True


def fetch_run(storage: Storage, folder: RunFolder, *, names: list[str] | None = None, weights: bool = False) -> None:
    """Bring a run's copy into a folder: all but checkpoints, and weights only if asked. The ledger comes last.

    Raises StorageError, and UserError where there is no run or the folder holds one.
    """
    names = storage.names() if names is None else names
    if _LEDGER not in names:
        raise UserError(f"{storage.url} is not a copy of a run: it has no {_LEDGER}")
    if folder.has_ledger:
        raise UserError(f"{folder.path} holds a run; choose a new or empty folder")
    for name in sorted(names, key=lambda name: (name == _LEDGER, name)):
        is_of_trial, last = name.startswith("trials/"), name.rpartition("/")[2]
        is_wanted = not is_of_trial or last in _SMALL or (weights and last in ("weights.pt", "best.pt"))
        if is_wanted and name != _DRIVER:
            storage.get(name, folder.path / name)


def _snapshot(ledger: Path, target: Path) -> None:
    """Copy a database as of now, whoever writes to it."""
    with closing(sqlite3.connect(ledger)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)


def _sessions(ledger: Path) -> list[tuple[str, str]]:
    """Return when and where a run's drivers started."""
    with closing(sqlite3.connect(ledger)) as connection:
        try:
            return [tuple(row) for row in connection.execute("SELECT started, host FROM sessions ORDER BY id")]
        except sqlite3.DatabaseError as error:
            raise UserError(f"{ledger} cannot be read: {error}") from None


def _values(content: bytes | None) -> dict[str, Any]:
    try:
        values = json.loads(content or b"{}")
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
