"""The only writer of a run's ledger: every change of a trial is one transaction.

The ledger holds everything that a killed run needs to continue.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.errors import UserError
from scaling_lab.metrics import ACCURACIES
from scaling_lab.runs.reader import SCHEMA, SCHEMA_VERSION, what_to_do
from scaling_lab.study.ledger.transaction import Transaction


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A row of `architectures`, with its median latency on the study's device, if known.

    `known` maps the names of costs known before a trial to values.
    `parts` maps backbone, feature_network and heads to their params_m and gmacs.
    """

    digest: str
    spec: DetectorSpec
    known: Mapping[str, float]
    parts: Mapping[str, Mapping[str, float]]
    latency_ms: float | None = None

    @property
    def costs(self) -> dict[str, float]:
        """The known costs, by the names that limits and objectives use."""
        return dict(self.known) | ({} if self.latency_ms is None else {"latency_ms": self.latency_ms})


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """A row of `trials`, with the columns that the engine needs."""

    id: int
    architecture: str
    seed: int
    params: dict[str, Any]
    epochs: int
    epochs_done: int
    state: str
    seconds: float
    metrics: dict[str, Any]
    role: str = "search"
    failure_kind: str | None = None


_LEAST_BYTES = 512  # of a non-empty database; SQLite accepts a one-byte file as empty


class Ledger:
    """A ledger open for writing, created if missing. Raises UserError where it cannot be opened."""

    def __init__(self, path: Path) -> None:
        try:
            if path.exists() and 0 < path.stat().st_size < _LEAST_BYTES:
                raise sqlite3.DatabaseError("file is not a database")
            # FULL: a committed transaction survives a power loss.
            self._connection = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
            (found,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(f"database disk image is malformed ({found.splitlines()[-1]})")
        except sqlite3.Error as error:
            raise UserError(f"{path} cannot be opened for writing: {error}{what_to_do(error)}") from None
        version = self.meta().get("schema_version", SCHEMA_VERSION)
        if version != SCHEMA_VERSION:
            raise UserError(f"{path} has schema version {version}; this program writes {SCHEMA_VERSION}")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # --- the study and its sessions ----------------------------------------------------------------------------------

    def meta(self) -> dict[str, Any]:
        """Return what the last session wrote about the study; empty in a new ledger."""
        return {key: json.loads(value) for key, value in self._connection.execute("SELECT key, value FROM meta")}

    def write_meta(self, values: Mapping[str, Any]) -> None:
        """Store facts about the study, replacing earlier ones."""
        rows = [(key, _json(value)) for key, value in {"schema_version": SCHEMA_VERSION, **values}.items()]
        with self.transaction():
            self._connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    def start_session(self, *, executor: str, provenance: Mapping[str, Any]) -> int:
        """Record the start of a driver and return the session's id."""
        row = {
            "started": now(),
            "command": provenance["command"],
            "executor": executor,
            "git_commit": provenance["git_commit"],
            "git_dirty": provenance["git_dirty"],
            "versions": _json(provenance["versions"]),
            "host": _json(provenance["host"]),
        }
        with self.transaction():
            return _id(self._insert("sessions", row))

    def end_session(self, session: int) -> None:
        """Record that the driver ended normally."""
        with self.transaction():
            self._connection.execute("UPDATE sessions SET ended = ? WHERE id = ?", (now(), session))

    # --- before a trial ----------------------------------------------------------------------------------------------

    def add_architecture(self, architecture: Architecture) -> None:
        """Add an architecture, if it is new."""
        spec = architecture.spec
        row = {
            "digest": architecture.digest,
            "spec": spec.to_json(),
            "description": spec.describe(),
            "topology": spec.topology.describe(),
            "costs": _json(architecture.known),
            "parts": _json(architecture.parts),
        }
        with self.transaction():
            self._insert("architectures", row, how="INSERT OR IGNORE")

    def plan(
        self,
        *,
        architecture: str,
        protocol: str,
        seed: int,
        params: Mapping[str, Any],
        epochs: int,
        role: str = "search",
    ) -> int:
        """Add a planned trial and return its id, which is never reused. Removes its architecture's rejections."""
        with self.transaction():
            self._connection.execute("DELETE FROM rejections WHERE architecture = ?", (architecture,))
            row = {"architecture": architecture, "protocol": protocol, "seed": seed, "params": _json(params)}
            return _id(self._insert("trials", row | {"epochs": epochs, "role": role, "state": "planned"}))

    def forget(self, trials: Iterable[int]) -> None:
        """Remove trials without an epoch that are no longer wanted or that a limit rejected."""
        with self.transaction():
            self._connection.executemany("DELETE FROM trials WHERE id = ? AND epochs_done = 0", [(t,) for t in trials])

    def reject(self, *, architecture: str, params: Mapping[str, Any], reason: str, costs: Mapping[str, float]) -> None:
        """Record that a limit rejected a point of the space."""
        with self.transaction():
            self._connection.execute(
                "INSERT INTO rejections (architecture, params, reason, costs, time) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET reason = excluded.reason, costs = excluded.costs",
                (architecture, _json(params), reason, _json(costs), now()),
            )

    # --- a trial's life ----------------------------------------------------------------------------------------------

    def start_trial(self, trial: int, session: int) -> None:
        """Record that a trial is running."""
        with self.transaction():
            self._connection.execute(
                "UPDATE trials SET state = 'running', session = ?, started = coalesce(started, ?) WHERE id = ?",
                (session, now(), trial),
            )

    def add_epoch(self, trial: int, epoch: int, metrics: Mapping[str, Any], *, seconds: float) -> None:
        """Record an epoch; a repeated one replaces the earlier record."""
        with self.transaction():
            row = {"trial": trial, "epoch": epoch, "metrics": _json(metrics)}
            self._insert("epochs", row, how="INSERT OR REPLACE")
            self._connection.execute(
                "UPDATE trials SET epochs_done = max(epochs_done, ?), seconds = ? WHERE id = ?",
                (epoch, seconds, trial),
            )

    def complete(self, trial: int, metrics: Mapping[str, Any], *, seconds: float, device: str | None) -> None:
        """Record a trial's final metrics."""
        columns = ", ".join(f"{name} = ?" for name in ACCURACIES)
        with self.transaction():
            self._connection.execute(
                f"UPDATE trials SET state = 'complete', ended = ?, seconds = ?, device = ?, metrics = ?, {columns} "
                "WHERE id = ?",
                (now(), seconds, device, _json(metrics), *(metrics.get(name) for name in ACCURACIES), trial),
            )

    def end_trial(
        self, trial: int, state: str, *, kind: str | None, message: str | None, seconds: float, device: str | None
    ) -> None:
        """Record that a trial ended without a result: stopped, or failed with a kind."""
        with self.transaction():
            self._connection.execute(
                "UPDATE trials SET state = ?, failure_kind = ?, failure_message = ?, ended = ?, seconds = ?, "
                "device = ? WHERE id = ?",
                (state, kind, message, now(), seconds, device, trial),
            )

    def requeue_running(self) -> int:
        """Set running trials of a dead driver back to planned, keeping their epochs. Return their number."""
        if self._connection.in_transaction:  # left by an interrupt
            self._connection.rollback()
        with self.transaction():
            cursor = self._connection.execute("UPDATE trials SET state = 'planned' WHERE state = 'running'")
        return cursor.rowcount

    def requeue_failed(self, *, anew: Iterable[int]) -> None:
        """Set failed trials back to planned. Those in `anew` lose their epochs; the others continue from them."""
        trials = [(trial,) for trial in anew]
        with self.transaction():
            self._connection.executemany("DELETE FROM epochs WHERE trial = ?", trials)
            self._connection.executemany(
                "UPDATE trials SET epochs_done = 0, seconds = 0, started = NULL WHERE id = ?", trials
            )
            self._connection.execute(
                "UPDATE trials SET state = 'planned', failure_kind = NULL, failure_message = NULL, ended = NULL, "
                "device = NULL WHERE state = 'failed'"
            )

    def add_latency(self, row: Mapping[str, Any]) -> None:
        """Record a measured latency; `row` has the columns of `latencies`."""
        with self.transaction():
            self._insert("latencies", {**row, "versions": _json(row["versions"])}, how="INSERT OR REPLACE")

    # --- reading back ------------------------------------------------------------------------------------------------

    def trials(self) -> list[TrialRow]:
        """Return all trials in the order of planning."""
        return [
            TrialRow(
                id=row["id"],
                architecture=row["architecture"],
                seed=row["seed"],
                params=json.loads(row["params"]),
                epochs=row["epochs"],
                epochs_done=row["epochs_done"],
                state=row["state"],
                seconds=row["seconds"],
                metrics=json.loads(row["metrics"] or "{}"),
                role=row["role"],
                failure_kind=row["failure_kind"],
            )
            for row in self._connection.execute("SELECT * FROM trials ORDER BY id")
        ]

    def architectures(self) -> dict[str, Architecture]:
        """Return all architectures by digest."""
        return {
            row["digest"]: Architecture(
                digest=row["digest"],
                spec=DetectorSpec.from_json(row["spec"]),
                known=json.loads(row["costs"]),
                parts=json.loads(row["parts"]),
            )
            for row in self._connection.execute("SELECT * FROM architectures ORDER BY rowid")
        }

    def spec_texts(self) -> dict[str, str]:
        """Return the JSON text of all architectures' specs, by digest."""
        return {
            row["digest"]: row["spec"] for row in self._connection.execute("SELECT digest, spec FROM architectures")
        }

    def results_at(self, epochs: Iterable[int], *, protocol: str) -> list[tuple[int, int, dict[str, Any]]]:
        """Return (trial, epoch, metrics) for these epochs of all search trials of a protocol."""
        query = (
            "SELECT epochs.trial, epochs.epoch, epochs.metrics FROM epochs JOIN trials ON trials.id = epochs.trial "
            "WHERE trials.protocol = ? AND trials.role = 'search' AND epochs.epoch = ? ORDER BY epochs.trial"
        )
        rows = [row for epoch in epochs for row in self._connection.execute(query, (protocol, epoch))]
        return [(trial, epoch, json.loads(metrics)) for trial, epoch, metrics in rows]

    def rejections(self) -> list[tuple[dict[str, Any], dict[str, float]]]:
        """Return (params, costs) of all points that limits rejected."""
        rows = self._connection.execute("SELECT params, costs FROM rejections ORDER BY id")
        return [(json.loads(params), json.loads(costs)) for params, costs in rows]

    def refused(self) -> set[str]:
        """Return the digests of the architectures that limits rejected."""
        return {row[0] for row in self._connection.execute("SELECT DISTINCT architecture FROM rejections")}

    def latencies(self, *, threads: int) -> dict[str, float]:
        """Return the first median latency of one image, in ms, by architecture, at `threads` CPU threads (0: a GPU)."""
        query = (
            "SELECT architecture, median_ms FROM latencies WHERE batch = 1 AND dtype = 'float32' AND backend = 'eager' "
            "AND scope = 'network' AND method = 'quick' AND threads = ? ORDER BY rowid DESC"
        )
        return {row["architecture"]: row["median_ms"] for row in self._connection.execute(query, (threads,))}

    def measured(self) -> set[tuple[str, str]]:
        """Return (architecture, device) of all latencies measured by trials and their driver."""
        query = "SELECT architecture, device FROM latencies WHERE method = 'quick'"
        return {tuple(row) for row in self._connection.execute(query)}

    def _insert(self, table: str, row: Mapping[str, Any], *, how: str = "INSERT") -> sqlite3.Cursor:
        """Insert a row by column names."""
        names, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
        return self._connection.execute(f"{how} INTO {table} ({names}) VALUES ({marks})", row)

    def transaction(self) -> Transaction:
        """Group changes into one atomic transaction."""
        return Transaction(self._connection)


def now() -> str:
    """Return the time in UTC as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def finite(value: Any) -> Any:
    """Return a value with non-finite numbers replaced by None, as JSON requires."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def _json(value: Any) -> str:
    return json.dumps(finite(value), allow_nan=False, sort_keys=isinstance(value, Mapping))


def _id(cursor: sqlite3.Cursor) -> int:
    assert cursor.lastrowid is not None
    return cursor.lastrowid
