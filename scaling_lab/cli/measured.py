"""Stores the rows of `measure`: in the file of --out, and in the ledgers of measured runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_lab.cli.measurable import Measurable
from scaling_lab.files import WriteError
from scaling_lab.metrics import COUNTED
from scaling_lab.runs.latencies import CONDITIONS, is_of, read_rows, write_rows
from scaling_lab.runs.lock import WriterLock, only_writer

if TYPE_CHECKING:
    from scaling_lab.architecture.spec import DetectorSpec
    from scaling_lab.latency.conditions import Conditions
    from scaling_lab.latency.rules import Protocol
    from scaling_lab.study.ledger.database import Ledger

Row = dict[str, Any]
_LONGEST = 200  # characters of a file name; its lock's name is longer
_NOT_IN_LEDGERS = (
    "detector",
    "description",
    *COUNTED,
    "pieces_ms",
    "halves_ms",
)
_SAME = ("architecture", *CONDITIONS, "method")


class Measured:
    """The known rows and the new ones. `keep` writes each row at once, so an interruption loses none."""

    def __init__(self, out: Path | None, ledgers: Mapping[Path, Ledger], detectors: Mapping[str, Measurable]) -> None:
        self._out, self._ledgers, self._detectors = out, ledgers, detectors
        self._rows: list[Row] = read_rows(out) if out is not None and out.exists() else []

    def known(
        self,
        conditions: Conditions,
        protocol: Protocol,
        *,
        device: str,
        versions: Mapping[str, Any],
        with_profile: bool,
    ) -> dict[str, Row]:
        """Return rows that need no new measurement: same conditions and versions, and at least as many runs."""
        wanted = {**conditions.to_dict(), "device": device, "method": protocol.method, "versions": dict(versions)}
        found = {
            row["architecture"]: row
            for row in self._rows
            if is_of(row, wanted)
            and row["architecture"] in self._detectors
            and row["runs"] >= protocol.runs
            and row["processes"] >= protocol.processes
            and (row.get("pieces_ms") is not None or not with_profile)
        }
        for row in found.values():
            self._note(row)
        return found

    def anchor(self, rows: Iterable[Row]) -> tuple[DetectorSpec, float] | None:
        """Return the anchor of earlier rows and its time in ms, if its spec is known."""
        for row in rows:
            if row["anchor"] in self._detectors:
                return self._detectors[row["anchor"]].spec, row["anchor_ms"]
        return None

    def keep(self, row: Row) -> Row:
        """Write a new row and return it with the detector's columns. Raises WriteError."""
        whole = {**self._detectors[row["architecture"]].columns(), **row}
        self._rows = [old for old in self._rows if any(old[name] != whole[name] for name in _SAME)] + [whole]
        if self._out is not None:
            write_rows(self._out, self._rows)
        self._note(whole)
        return whole

    def _note(self, row: Row) -> None:
        """Write a row into the ledgers of its detector's runs."""
        values = {name: value for name, value in row.items() if name not in (*_NOT_IN_LEDGERS, "anchor")}
        for run in self._detectors[row["architecture"]].runs:
            try:
                self._ledgers[run].add_latency(values)
            except sqlite3.OperationalError as error:
                raise WriteError(f"{run}: the latency cannot be stored: {error}") from error


@contextmanager
def ledgers_of(folders: Collection[Path]) -> Iterator[dict[Path, Ledger]]:
    """Open the runs' ledgers for writing. Raises UserError where another process holds a run's lock."""
    from scaling_lab.runs.reader import RunFolder
    from scaling_lab.study.ledger.database import Ledger

    with ExitStack() as stack:
        ledgers = {}
        for folder in sorted(folders):
            lock = WriterLock(RunFolder(folder).lock, option=None)
            stack.callback(lock.leave)
            ledgers[folder] = stack.enter_context(closing(Ledger(RunFolder(folder).ledger)))
        yield ledgers


@contextmanager
def only_writer_of(path: Path | None) -> Iterator[None]:
    """Lock the file of --out against other measurements."""
    if path is None:
        yield
        return
    with only_writer(path.with_name(f".{path.name[-_LONGEST:]}.lock"), what=path):
        yield
