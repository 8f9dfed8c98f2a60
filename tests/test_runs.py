"""Reading a run: tables that are there even when empty, and a ledger whose driver was killed while it wrote."""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scaling_lab import Runs
from scaling_lab.errors import UserError
from scaling_lab.runs.reader import ACCURACIES, SCHEMA_VERSION, RunFolder
from scaling_lab.study.ledger.database import Ledger
from scaling_lab.study.run.runner import run_study
from tests.study.engine import Replayed, count, make_study


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    study = make_study(limits={"gmacs": 2.0}, seeds=(0, 1))
    objective = Replayed(fail={"fpn": "raise"})
    return run_study(study, out=out, executor="local", count=count, objective=objective, stream=None)


def test_the_table_has_a_row_for_each_trial(run: Path) -> None:
    table = Runs(run).table()
    assert table["trial"].tolist() == list(range(1, 11))
    assert table["state"].value_counts().to_dict() == {"complete": 6, "failed": 4}
    first = table.iloc[0]
    assert (first["topology"], first["param_width"], first["seed"]) == ("none P3-P7", 16, 0)
    assert first["gmacs_heads"] == pytest.approx(0.96)
    assert first["params_m_backbone"] == pytest.approx(0.016)
    assert math.isnan(first["latency_ms"])
    assert math.isnan(first["ap_small"])
    assert all(table[name].dtype == float for name in (*ACCURACIES, "seconds"))


def test_a_run_says_which_it_is_and_how_its_trials_ended(run: Path) -> None:
    assert repr(Runs(run)) == f"Runs({str(run)!r}): 6 complete, 4 failed"


def test_epochs_are_numbers(run: Path) -> None:
    epochs = Runs(run).epochs()
    assert len(epochs) == 18
    assert epochs["ap_small"].isna().all()
    assert "ap_by_class" not in epochs
    assert epochs["loss"].dtype == float


def test_the_last_metrics_are_whole(run: Path) -> None:
    assert Runs(run).metrics(1)["ap_by_class"] == {"a": 19.5, "b": None}
    assert Runs(run).metrics(3) == {}
    assert Runs(run).detections(1) == []


def test_rejections_and_sessions(run: Path) -> None:
    rejections = Runs(run).rejections()
    assert rejections["reason"].tolist() == ["gmacs 2.88 is above the limit 2"]
    assert rejections["params"][0] == {"topology": "bifpn", "width": 32}
    assert Runs(run).sessions()["versions"][0]["python"]


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    ledger = Ledger(RunFolder(tmp_path).ledger)
    ledger.write_meta({"study": "s"})
    runs = Runs(tmp_path)
    for table in (runs.table(), runs.epochs(), runs.sessions(), runs.rejections(), runs.latencies()):
        assert table.empty
    assert {"trial", "state", "ap", "gmacs", "latency_ms"} <= set(runs.table().columns)
    assert (runs.specs(), runs.samples(), runs.meta["study"]) == ({}, [], "s")


def _add_latency(ledger: Ledger, architecture: str, **changes: Any) -> None:
    times = {"median_ms": 5.0, "p90_ms": 6.0, "spread_ms": 1.0, "runs": 9, "processes": 1, "versions": {}}
    where = {"device": "a", "dtype": "float32", "batch": 1, "threads": 2, "backend": "eager"}
    where |= {"scope": "network", "method": "quick"}
    ledger.add_latency({"architecture": architecture, **where, **times, **changes})


def test_latency_is_a_column_only_of_one_device(tmp_path: Path) -> None:
    study = make_study(trials=2)
    run_study(study, out=tmp_path, executor="local", count=count, objective=Replayed(), stream=None)
    digests = Runs(tmp_path).table()["architecture"].tolist()
    ledger = Ledger(RunFolder(tmp_path).ledger)
    for digest, median in zip(digests, (5.0, 7.0), strict=True):
        _add_latency(ledger, digest, median_ms=median)
        _add_latency(ledger, digest, median_ms=99.0, batch=8)
    _add_latency(ledger, digests[0], median_ms=88.0, threads=1)
    assert Runs(tmp_path).table()["latency_ms"].tolist() == [5.0, 7.0]
    _add_latency(ledger, digests[0], device="b")
    _add_latency(ledger, digests[0], dtype="bf16", median_ms=1.0)
    assert Runs(tmp_path).table()["latency_ms"].tolist() == [5.0, 7.0]
    assert len(Runs(tmp_path).latencies()) == 7
    for digest in digests:
        _add_latency(ledger, digest, method="anchored", median_ms=4.0)
    assert Runs(tmp_path).table()["latency_ms"].tolist() == [4.0, 4.0]


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run: its ledger\.sqlite is missing"):
        Runs(tmp_path)
    RunFolder(tmp_path).ledger.write_text("no database at all, but some text that is long enough for a header of one")
    with pytest.raises(UserError, match="cannot be read: file is not a database"):
        Runs(tmp_path)


def test_another_schema_is_refused(tmp_path: Path) -> None:
    ledger = Ledger(RunFolder(tmp_path).ledger)
    ledger.write_meta({})
    ledger._connection.execute("UPDATE meta SET value = '0' WHERE key = 'schema_version'")
    with pytest.raises(UserError, match=f"has schema version 0; this program reads {SCHEMA_VERSION}"):
        Runs(tmp_path)


def test_a_driver_killed_in_the_middle_of_writing_leaves_what_can_be_read(tmp_path: Path) -> None:
    path = RunFolder(tmp_path).ledger
    ledger = Ledger(path)
    ledger.write_meta({"study": "before"})
    ledger.close()
    code = (
        "import os, signal, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1')\n"
        "c.execute('BEGIN')\n"
        "c.execute('UPDATE meta SET value = 3')\n"
        "c.executemany('INSERT INTO meta VALUES (?, ?)', [(str(i), 'x' * 999) for i in range(2000)])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
    journal = path.with_name("ledger.sqlite-journal")
    assert journal.stat().st_size > 0
    before = path.read_bytes(), journal.read_bytes()
    assert Runs(tmp_path).meta == {"schema_version": SCHEMA_VERSION, "study": "before"}
    assert (path.read_bytes(), journal.read_bytes()) == before
    Ledger(path).close()
    assert not journal.exists()
    assert Runs(tmp_path).meta == {"schema_version": SCHEMA_VERSION, "study": "before"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_run_on_a_disk_that_cannot_be_written(run: Path) -> None:
    run.chmod(0o555)
    assert len(Runs(run).table()) == 10
    run.chmod(0o755)


def test_reading_does_not_stop_the_writer(run: Path) -> None:
    ledger = Ledger(RunFolder(run).ledger)
    with ledger.transaction():
        ledger._connection.execute("UPDATE trials SET seconds = 1")
        assert len(Runs(run).table()) == 10
    with sqlite3.connect(RunFolder(run).ledger) as connection:
        assert connection.execute("SELECT count(*) FROM trials WHERE seconds = 1").fetchone() == (10,)
