"""Runs whose columns lack all values, some or none: what the reader gives for them, and what every verb makes of it."""

from __future__ import annotations

import json
import math
import random
import re
import sqlite3
from html import unescape
from pathlib import Path

import pandas as pd
import pytest

from scaling_lab.cli import main
from scaling_lab.errors import UserError
from scaling_lab.report import write_report
from scaling_lab.report.tables import records
from scaling_lab.runs.reader import Runs
from tests.report.fixture_run import Fixture, Latency, Trial, topology_trials, write_run

TABLES = {"sessions": "id", "trials": "id", "rejections": "id", "latencies": "rowid", "architectures": "rowid"}
STATES, FAILURE = ("planned", "running", "stopped", "failed", "failed"), ("diverged", "the loss is infinite")
ABSENT = r"\b(?:nan|NaN|NaT|NA|None(?! of))\b"  # pandas' words for what is missing


@pytest.fixture
def run(tmp_path: Path) -> Path:
    trials = [
        *topology_trials(names=("fpn", "panet", "bifpn")),
        *(Trial(topology="none", seed=seed, state=state, failure=FAILURE) for seed, state in enumerate(STATES)),
        *(Trial(topology="bifpn", seed=seed, role="finalist") for seed in (7, 8)),
    ]
    path = write_run(tmp_path / "run", Fixture(trials=trials, samples=1, latencies=[Latency()], rejections=2))
    with sqlite3.connect(path / "ledger.sqlite") as connection:
        connection.execute("INSERT INTO sessions SELECT 2, started, ended, command, executor, git_commit, git_dirty, "
                           "versions, host FROM sessions")  # fmt: skip
        connection.execute('UPDATE trials SET params = \'{"topology": "none"}\' WHERE id % 2')
    return path


def nullable(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if not row[3] and not row[5]]


def remove(run: Path, share: float, chance: random.Random) -> None:
    """Remove each value that may be missing with this probability; of a column, at most all but one where it is below 1."""
    with sqlite3.connect(run / "ledger.sqlite") as connection:
        for table, key in TABLES.items():
            keys = [row[0] for row in connection.execute(f"SELECT {key} FROM {table}")]
            for column in nullable(connection, table):
                gone = keys if share == 1 else [each for each in keys if chance.random() < share][: len(keys) - 1]
                connection.executemany(
                    f"UPDATE {table} SET {column} = NULL WHERE {key} = ?", [(each,) for each in gone]
                )


def is_whole(table: pd.DataFrame) -> bool:
    """Whether what is missing is NaN among numbers and None elsewhere."""
    for name in table:
        missing = [value for value in table[name] if value is None or value is pd.NA or value != value]
        is_numeric = pd.api.types.is_numeric_dtype(table[name])
        if not all(isinstance(value, float) if is_numeric else value is None for value in missing):
            return False
    return True


@pytest.mark.parametrize("share", [0, 0.3, 0.7, 1])
def test_a_reader_gives_what_is_missing_by_one_rule(run: Path, share: float) -> None:
    remove(run, share, random.Random(share))
    runs = Runs(run)
    for table in (runs.table(), runs.sessions(), runs.rejections(), runs.latencies(), runs.epochs()):
        assert is_whole(table)
    trials, latencies = runs.table(), runs.latencies()
    assert all(trials[name].dtype == float for name in ("ap", "ap_large", "latency_ms", "predicted_latency_ms"))
    assert all(latencies[name].dtype == float for name in ("process_spread", "anchor_ms", "peak_memory_mb"))
    if share == 1:
        assert set(trials["failure_kind"]) == set(trials["ended"]) == set(runs.sessions()["git_commit"]) == {None}


@pytest.mark.parametrize("share", [pytest.param(0, marks=pytest.mark.slow), 0.5, 1])
def test_every_verb_shows_a_run_whatever_it_lacks(run: Path, share: float, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_run(run.parent / "other", Fixture(trials=topology_trials(names=("fpn", "bifpn")), samples=0))
    remove(run, share, random.Random(share))
    pages = [write_report(run, compact=True)]
    if share < 1:
        pages.append(write_report([other, run], out=run.parent / "both", compact=True))
    else:
        with pytest.raises(UserError, match="nothing can be compared with other"):
            write_report([other, run])
    for page in pages:
        text = re.sub(r"<(svg|script|style)\b.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert re.findall(ABSENT, unescape(re.sub("<[^>]*>", " ", text))) == []
    capsys.readouterr()
    assert main(["status", str(run)]) == 0
    assert main(["show", str(run)]) == 0
    text = capsys.readouterr().out
    assert re.findall(ABSENT, text) == []
    assert main(["show", str(run), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 16
    assert all(value == value for row in rows for value in row.values())


@pytest.mark.parametrize(
    "cells", [[None, None], ["a", None], ["a", float("nan")], [pd.NA, "a"], ["a", "b"]], ids=str
)  # fmt: skip
def test_a_row_has_none_for_a_missing_text(cells: list[object]) -> None:
    rows = records(pd.DataFrame({"text": cells, "number": [1.0, float("nan")]}))
    assert [row["text"] for row in rows] == [each if isinstance(each, str) else None for each in cells]
    assert math.isnan(rows[1]["number"])
