"""What a user does after a fault: the run's report, its status, its trials and a comparison. It holds no tests."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sqlite3
from collections import Counter
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd

from scaling_lab.cli import main
from scaling_lab.report import write_report
from scaling_lab.runs.reader import STATES
from scaling_lab.study.run.runner import run_study
from tests.study.engine import Replayed, count, make_study

# What a page says in place of what is missing, where a missing cell was taken for a value.
ABSENT = r"\b(?:nan|NaN|NaT|None(?! of))\b"


def look_at(run: Path) -> None:
    """Write the run's page, status and trials, and hold them against the ledger."""
    rows, sessions, meta = _ledger(run)
    _assert_page(write_report(run, compact=True), rows, sessions)
    _assert_status(run, rows, meta)
    _assert_trials(run, rows)


def look_at_all(run: Path, **study: Any) -> None:
    """Do the same with the report's files, and compare the run with one that nothing has disturbed.

    The other run has the fields `study`, as far as a comparison needs them, of the engine's study.
    """
    look_at(run)
    rows, sessions, _ = _ledger(run)
    _assert_report(run, rows, sessions)
    _assert_comparison(run, rows, sessions, study)


def look_at_living(run: Path) -> None:
    """Write the same of a run whose driver lives: its ledger changes meanwhile, so each is only to end well."""
    write_report(run, compact=True)
    for verb in ("status", "show"):
        _said(verb, str(run))


def _ledger(run: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """Read the ledger past the reader that is tested."""
    with contextlib.closing(sqlite3.connect(run / "ledger.sqlite")) as connection:
        connection.row_factory = sqlite3.Row
        trials = [dict(row) for row in connection.execute("SELECT * FROM trials ORDER BY id")]
        sessions = [dict(row) for row in connection.execute("SELECT * FROM sessions ORDER BY id")]
        meta = {row["key"]: json.loads(row["value"]) for row in connection.execute("SELECT * FROM meta")}
    return trials, sessions, meta


def _said(*command: str) -> str:
    """Give what a verb prints; it has ended well."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(list(command)) in (0, None), printed.getvalue()
    return printed.getvalue()


def _text(page: Path) -> str:
    """Give the words of a page."""
    shown = re.sub(r"<(svg|script|style)\b.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", shown)).split())


def _absent(text: str, rows: list[dict[str, Any]], sessions: list[dict[str, Any]]) -> list[str]:
    """Give the words for what is missing on a page, but for those of a command and of failures' own messages."""
    for said in [*(row["failure_message"] for row in rows), *(session["command"] for session in sessions)]:
        text = text.replace(" ".join((said or "").split()), "")
    return re.findall(ABSENT, text)


def _assert_page(page: Path, rows: list[dict[str, Any]], sessions: list[dict[str, Any]]) -> None:
    text = _text(page)
    assert _absent(text, rows, sessions) == []
    states = Counter(row["state"] for row in rows)
    assert f"{states.pop('complete', 0)} of {len(rows)} trial" in text
    assert all(f"{number} {state}" in text for state, number in states.items())
    assert f"{len(sessions)} session" in text
    assert ("not ended: still running, or it was killed" in text) is (sessions[-1]["ended"] is None)


def _assert_report(run: Path, rows: list[dict[str, Any]], sessions: list[dict[str, Any]]) -> None:
    page = Path(_said("report", str(run)).strip().removeprefix("report: "))
    _assert_page(page, rows, sessions)
    tables = page.parent / "tables"
    assert len(pd.read_csv(tables / "sessions.csv")) == len(sessions)
    failed = [row for row in rows if row["state"] == "failed"]
    if failed:
        listed = pd.read_csv(tables / "failures.csv")
        assert listed["trial"].tolist() == [row["id"] for row in failed]
        assert listed["failure_kind"].tolist() == [row["failure_kind"] for row in failed]
        assert listed["failure_message"].tolist() == [row["failure_message"] for row in failed]


def _assert_status(run: Path, rows: list[dict[str, Any]], meta: dict[str, Any]) -> None:
    (status,) = json.loads(_said("status", str(run), "--json"))
    states = Counter("planned" if row["state"] == "running" else row["state"] for row in rows)
    states["planned"] += max(len(rows), meta["planned_trials"]) - len(rows)
    assert status["driver"] is None
    assert status["states"] == {state: states[state] for state in STATES}
    assert status["failures"] == Counter(row["failure_kind"] for row in rows if row["state"] == "failed")
    aps = [row["ap"] for row in rows if row["state"] == "complete"]
    assert (status["best"] is None) is (not aps)
    text = _said("status", str(run))
    assert re.findall(ABSENT, text) == []
    assert f"{states['complete']} of {sum(states.values())} trial" in text


def _assert_trials(run: Path, rows: list[dict[str, Any]]) -> None:
    shown = {row["trial"]: row for row in json.loads(_said("show", str(run), "--json"))}
    assert sorted(shown) == [row["id"] for row in rows]
    for row in rows:
        seen = shown[row["id"]]
        for name in ("failure_kind", "failure_message", "ended", "epochs_done", "ap", "device"):
            assert seen[name] == row[name], (row["id"], name)
    lines = _said("show", str(run))
    for row in [each for each in rows if each["state"] == "failed"][:5]:
        assert f"trial {row['id']} failed: {row['failure_kind'].replace('_', ' ')}: {row['failure_message']}" in lines


def _assert_comparison(
    run: Path, rows: list[dict[str, Any]], sessions: list[dict[str, Any]], changes: dict[str, Any]
) -> None:
    """Compare with a run of two trials that nothing has disturbed."""
    beside = run.with_name(f"{run.name}-afterwards")
    other, out = beside / "undisturbed", beside / "comparison"
    if not other.exists():
        study, objective = make_study(trials=2, **changes), Replayed()
        run_study(study, out=other, executor="local", count=count, objective=objective, stream=None)
    page = Path(_said("report", str(run), str(other), "--out", str(out)).strip().removeprefix("report: "))
    text = _text(page)
    assert _absent(text, rows, sessions) == []
    assert run.name in text
    assert other.name in text
