"""measure, and the report on what it measured: as a user calls them, on detectors of a millisecond."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scaling_lab import Runs, topologies
from scaling_lab.cli import main
from scaling_lab.errors import UserError
from scaling_lab.latency import protocol, timing, worker
from scaling_lab.runs.latencies import read_rows
from scaling_lab.runs.lock import WriterLock
from scaling_lab.runs.reader import RunFolder
from scaling_lab.study.run.runner import run_study
from tests.latency.tiny import tiny
from tests.study.engine import Replayed, make_study

SHORT = ["--runs", "10", "--processes", "1", "--anyway"]
here = pytest.mark.usefixtures("_here")

SPACE = """
import dataclasses
from tests.latency.tiny import tiny

def space(trial):
    return tiny(width=trial.suggest_int("width", 8, 64, step=4), head_repeats=trial.suggest_int("heads", 1, 3))
"""


@pytest.fixture
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure in this process, for one of its own imports torch for seconds, and warm up shortly."""

    def run_worker(job: dict[str, Any]) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        worker.work(job, events.append)
        return events

    monkeypatch.setattr(protocol, "run_worker", run_worker)
    monkeypatch.setitem(timing.WARM_UP, "most", 10)


@pytest.fixture
def small(tmp_path: Path) -> str:
    path = tmp_path / "small.json"
    path.write_text(tiny().to_json())
    return str(path)


@here
def test_a_detector_is_measured_once(small: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "latencies.csv"
    command = ["measure", small, *SHORT, "--threads", "1", "--batch", "1", "2", "--profile", "--out", str(out)]
    assert main(command) == 0
    shown = capsys.readouterr()
    rows = read_rows(out)
    assert [row["batch"] for row in rows] == [1, 2]
    assert all(row["median_ms"] > 0 and row["architecture"] == tiny().digest for row in rows)
    assert "batch 2, float32, eager, network alone, 1 thread" in shown.out
    assert "the anchor, " in shown.out
    assert "heads P5" in shown.out
    assert "process 1 of 1: 1 detector, batch 1" in shown.err
    monkeypatch.setattr(protocol, "run_worker", None)  # nothing is left to do
    assert main([*command, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert [row["median_ms"] for row in again] == [row["median_ms"] for row in rows]


@here
def test_what_was_measured_with_less_care_is_measured_again(small: str, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "latencies.csv"
    base = ["measure", small, "--processes", "1", "--out", str(out)]
    assert main([*base, "--runs", "10", "--anyway"]) == 0
    assert main([*base, "--runs", "20", "--anyway"]) == 0
    (row,) = read_rows(out)
    assert row["runs"] == 20
    changed = out.read_text().replace(row["versions"]["torch"], "1.0")
    out.write_text(changed.replace("unchecked", "anchored"))
    assert main([*base, "--runs", "10", "--anyway"]) == 0
    assert [each["method"] for each in read_rows(out)] == ["anchored", "unchecked"]  # the better one stays
    assert capsys.readouterr().err.count("process 1 of 1") == 3


@here
def test_what_was_measured_is_shown_where_the_next_fails(
    small: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = protocol.run_worker

    def fails(job: dict[str, Any]) -> Any:
        if job["conditions"]["batch"] == 2:
            raise UserError("the second fails")
        return run(job)

    monkeypatch.setattr(protocol, "run_worker", fails)
    assert main(["measure", small, *SHORT, "--batch", "1", "2"]) == 2
    captured = capsys.readouterr()
    assert "batch 1, float32, eager" in captured.out
    assert "the second fails" in captured.err


@here
def test_two_runs_with_one_detector_both_hear_of_it(tmp_path: Path, capsys: Any) -> None:
    study = make_study(
        space=lambda trial: tiny(width=trial.suggest_categorical("width", [8])), sampler="grid", trials=None
    )
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        run_study(study, out=folder, executor="local", objective=Replayed(), stream=None)
    mark = RunFolder(folders[0]).lock
    mark.write_text('{"mark": "abcdefabcdef"}')
    assert main(["measure", *map(str, folders), *SHORT, "--out", str(tmp_path / "l.csv")]) == 0
    assert [len(Runs(folder).latencies()) for folder in folders] == [1, 1]
    assert "abcdefabcdef" in mark.read_text()  # what a killed driver left for the next to clean up
    runs = Runs(folders[0])
    assert runs.table()["latency_ms"].tolist() == runs.latencies()["median_ms"].tolist()
    capsys.readouterr()
    lock = WriterLock(mark)
    assert main(["measure", str(folders[0]), *SHORT]) == 2
    assert "is being written by process" in capsys.readouterr().err
    lock.release()


@here
@pytest.mark.slow
def test_a_space_is_measured_and_modelled(tmp_path: Path, capsys: Any) -> None:
    space, out, model = tmp_path / "space.py", tmp_path / "l.csv", tmp_path / "model.json"
    space.write_text(SPACE)
    draw = ["measure", str(space), "--sample", "16", *SHORT, "--out", str(out), "--fit", str(model)]
    assert main(draw) == 0
    shown = capsys.readouterr().out
    assert "held-out ones the median error is" in shown
    assert f"latency model: {model}" in shown
    assert 12 <= len(read_rows(out)) <= 16
    table = tmp_path / "costs.csv"
    listing = ["enumerate", str(space), "--limit", "predicted_latency_ms=100", "--out", str(table), "--sample", "3"]
    assert main(listing) == 2
    assert "a limit on predicted_latency_ms needs --latency-model" in capsys.readouterr().err
    assert main([*listing, "--latency-model", str(model), "--sort", "predicted_latency_ms"]) == 0
    assert "predicted_latency_ms" in table.read_text().splitlines()[0]
    assert main(["report", str(out)]) == 0
    page = tmp_path / "l_report" / "latency.html"
    assert "Do multiply-adds, parameters or activations predict" in page.read_text()


@here
@pytest.mark.slow
def test_a_run_is_measured_into_its_ledger(tmp_path: Path) -> None:
    study = make_study(
        space=lambda trial: tiny(width=trial.suggest_categorical("width", [8, 16])), sampler="grid", trials=None
    )
    folder = run_study(study, out=tmp_path / "run", executor="local", objective=Replayed(), stream=None)
    assert Runs(folder).table()["latency_ms"].isna().all()
    assert main(["measure", str(folder), *SHORT, "--scope", "network", "end_to_end"]) == 0
    runs = Runs(folder)
    measured = runs.latencies()
    assert (len(measured), set(measured["scope"]), set(measured["method"])) == (
        4,
        {"network", "end_to_end"},
        {"unchecked"},
    )
    assert (measured["anchor_ms"] > 0).all()
    network = measured[measured["scope"] == "network"]
    assert runs.table()["latency_ms"].tolist() == network["median_ms"].tolist()
    assert main(["report", str(folder)]) == 0
    page = (folder / "report" / "frontier.html").read_text()
    assert "with post-processing" in page


def test_a_run_without_results_is_told(tmp_path: Path, capsys: Any) -> None:
    study = make_study(space=lambda trial: tiny(topology=topologies.none(3, 5)), limits={"gmacs": 1e-9}, trials=1)
    folder = run_study(study, out=tmp_path / "run", executor="local", objective=Replayed(), stream=None)
    assert main(["measure", str(folder), *SHORT]) == 2
    assert "has no complete trial, so there is nothing to measure" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--device", "cuda:97"], "--device is 'cuda:97', which cannot be used"),
        (["--threads", "100000"], "threads is 100000; allowed are 1 to"),
        (["--backend", "cuda_graphs"], "cuda_graphs needs device cuda"),
        (["--batch", "0"], "batch is 0"),
        (["--backend", "onnxruntime", "--dtype", "bf16"], "onnxruntime with bf16 on cpu is not supported"),
        (["--runs", "1"], "runs is 1"),
        (["--batch", "1000000"], "needs at least"),
        (["--batch", "1", "1000000"], "needs at least"),
        (
            ["--fit", "/nowhere/x.json"],
            "/nowhere/x.json cannot be written: there is no folder /nowhere",
        ),
        (["--out", "/nowhere/x.csv"], "/nowhere/x.csv cannot be written: there is no folder /nowhere"),
        (["--profile", "--backend", "eager", "compile"], "a profile needs backend eager"),
        (["--batch", "1", "2", "--fit", "x.json"], "--fit needs one set of conditions; 2 are given"),
        (["--profile", "--scope", "end_to_end"], "a profile needs backend eager"),
    ],
)
def test_what_cannot_be_measured_is_told_and_writes_nothing(
    small: str, tmp_path: Path, capsys: Any, options: list[str], words: str
) -> None:
    out = tmp_path / "latencies.csv"
    assert main(["measure", small, *SHORT, "--out", str(out), *options]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


@here
def test_a_space_is_as_it_is(tmp_path: Path, capsys: Any) -> None:
    space = tmp_path / "space.py"
    space.write_text(SPACE)
    assert main(["measure", str(space), *SHORT, "--image-size", "128"]) == 2
    assert "--image-size changes a named detector, not those of a run or a space" in capsys.readouterr().err
    space.write_text(SPACE.replace("8, 64, step=4", "8, 8").replace('"heads", 1, 3', '"heads", 1, 1'))
    assert main(["measure", str(space), *SHORT, "--sample", "3"]) == 0
    captured = capsys.readouterr()
    assert "3 points give 1 distinct detectors" in captured.err
    assert "all runs count, on a busy or drifting device too" in captured.out


def test_too_few_detectors_for_a_model_are_told(small: str, tmp_path: Path, capsys: Any) -> None:
    assert main(["measure", small, *SHORT, "--fit", str(tmp_path / "m.json")]) == 2
    assert "a latency model needs at least 12 distinct detectors, not 1" in capsys.readouterr().err
    assert not (tmp_path / "m.json").exists()


def test_a_file_of_another_kind_is_not_overwritten(small: str, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "mine.csv"
    out.write_text("my,notes\n1,2\n")
    assert main(["measure", small, *SHORT, "--out", str(out)]) == 2
    assert "is not a file of latencies" in capsys.readouterr().err
    assert out.read_text() == "my,notes\n1,2\n"
