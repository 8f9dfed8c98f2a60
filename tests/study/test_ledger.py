"""The ledger's writer: whole transactions, ids that are used once, numbers that JSON can say."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from scaling_lab import topologies
from scaling_lab.errors import UserError
from scaling_lab.study.ledger.database import Architecture, Ledger
from tests.study.engine import spec


def make(path: Path) -> tuple[Ledger, str]:
    ledger = Ledger(path)
    detector = spec(topologies.fpn(3, 7))
    parts = {"heads": {"params_m": 1.0, "gmacs": 2.0}}
    costs = {"params_m": 1, "gmacs": 2, "memory_mb": 3}
    ledger.add_architecture(Architecture(digest=detector.digest, spec=detector, known=costs, parts=parts))
    return ledger, detector.digest


def plan(ledger: Ledger, digest: str, seed: int = 0) -> int:
    return ledger.plan(architecture=digest, protocol="p", seed=seed, params={"b": 1, "a": 2.5}, epochs=3)


def test_a_trial_from_plan_to_end(tmp_path: Path) -> None:
    ledger, digest = make(tmp_path / "x")
    trial = plan(ledger, digest)
    provenance = {"command": "c", "git_commit": None, "git_dirty": None, "versions": {}, "host": {}}
    session = ledger.start_session(executor="local", provenance=provenance)
    ledger.start_trial(trial, session)
    ledger.add_epoch(trial, 1, {"loss": float("nan"), "ap_by_class": {"a": float("inf")}}, seconds=2.0)
    ledger.add_epoch(trial, 1, {"loss": 1.5}, seconds=2.5)
    row = ledger.trials()[0]
    assert (row.state, row.epochs_done, row.seconds, row.params) == ("running", 1, 2.5, {"a": 2.5, "b": 1})
    ledger.complete(trial, {"ap": 3.0, "ap_small": None, "other": float("nan")}, seconds=4.0, device="cpu")
    row = ledger.trials()[0]
    assert (row.state, row.metrics) == ("complete", {"ap": 3.0, "ap_small": None, "other": None})
    ledger.close()
    with sqlite3.connect(tmp_path / "x") as connection:
        assert [json.loads(m) for (m,) in connection.execute("SELECT metrics FROM epochs")] == [{"loss": 1.5}]


def test_a_trial_is_planned_once_for_each_seed(tmp_path: Path) -> None:
    ledger, digest = make(tmp_path / "x")
    plan(ledger, digest)
    with pytest.raises(sqlite3.IntegrityError):
        plan(ledger, digest)
    assert plan(ledger, digest, seed=1) == 2


def test_ids_are_never_used_again(tmp_path: Path) -> None:
    ledger, digest = make(tmp_path / "x")
    ledger.forget([plan(ledger, digest)])
    assert plan(ledger, digest) == 2


def test_what_runs_is_queued_again_and_keeps_its_epochs(tmp_path: Path) -> None:
    ledger, digest = make(tmp_path / "x")
    trial = plan(ledger, digest)
    ledger._connection.execute("UPDATE trials SET state = 'running'")
    ledger.add_epoch(trial, 2, {}, seconds=1.0)
    assert ledger.requeue_running() == 1
    assert (ledger.trials()[0].state, ledger.trials()[0].epochs_done) == ("planned", 2)


def test_what_failed_is_queued_again_with_or_without_its_epochs(tmp_path: Path) -> None:
    ledger, digest = make(tmp_path / "x")
    for trial in (plan(ledger, digest), plan(ledger, digest, seed=1)):
        ledger.add_epoch(trial, 1, {"loss": 1.0}, seconds=2.0)
        ledger.end_trial(trial, "failed", kind="lost_worker", message="m", seconds=3.0, device="cpu")
    done = plan(ledger, digest, seed=2)
    ledger.complete(done, {"ap": 1.0}, seconds=1.0, device="cpu")
    assert [row.failure_kind for row in ledger.trials()] == ["lost_worker", "lost_worker", None]
    ledger.requeue_failed(anew=[2])
    assert [(row.state, row.epochs_done, row.seconds, row.failure_kind) for row in ledger.trials()] == [
        ("planned", 1, 3.0, None),
        ("planned", 0, 0.0, None),
        ("complete", 0, 1.0, None),
    ]
    assert ledger._connection.execute("SELECT trial FROM epochs").fetchall()[0][0] == 1


def test_a_group_of_changes_is_whole_or_not_at_all(tmp_path: Path) -> None:
    ledger, digest = make(tmp_path / "x")
    with contextlib.suppress(KeyboardInterrupt), ledger.transaction():
        plan(ledger, digest)
        raise KeyboardInterrupt
    assert ledger.trials() == []
    plan(ledger, digest)
    assert len(ledger.trials()) == 1


def test_an_interrupt_within_a_transaction_does_not_block_the_next(tmp_path: Path) -> None:
    ledger, digest = make(tmp_path / "x")
    plan(ledger, digest)
    ledger._connection.execute("BEGIN IMMEDIATE")
    ledger._connection.execute("UPDATE trials SET epochs_done = 9")
    ledger.requeue_running()
    assert ledger.trials()[0].epochs_done == 0


def test_a_refused_point_that_is_planned_later_is_refused_no_more(tmp_path: Path) -> None:
    ledger, digest = make(tmp_path / "x")
    for reason in ("first", "second"):
        ledger.reject(architecture=digest, params={"a": 1}, reason=reason, costs={"gmacs": 9.0})
    assert ledger.rejections() == [({"a": 1}, {"gmacs": 9.0})]
    plan(ledger, digest)
    assert ledger.rejections() == []


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("something else, and long enough to be read as a page of a database")
    with pytest.raises(UserError, match="cannot be opened for writing: file is not a database"):
        Ledger(tmp_path / "x")


def test_a_ledger_of_another_version_is_refused(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "x")
    ledger.write_meta({})
    ledger._connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    ledger.close()
    with pytest.raises(UserError, match="schema version 99"):
        Ledger(tmp_path / "x")
