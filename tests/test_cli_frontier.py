"""frontier as a user calls it: on recorded latencies, and measuring detectors of a millisecond."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from scaling_lab.architecture.naming import spec_by_name
from scaling_lab.cli import frontier, main
from scaling_lab.cost import count
from scaling_lab.errors import UserError
from scaling_lab.latency import protocol, timing, worker
from scaling_lab.latency.rules import UnsteadyDevice
from scaling_lab.paper.buildable import Buildable, buildable
from scaling_lab.report.analysis.detector_facts import published_detectors
from scaling_lab.runs.latencies import COLUMNS, read_rows, write_rows
from scaling_lab.runs.reader import Runs
from scaling_lab.study.run.runner import run_study
from tests.latency.tiny import tiny
from tests.study.engine import Replayed, make_study

FEW = ("lite0", "d0", "tf_efficientdet_lite0")
TIMES = {"lite0": 21.0, "d0": 60.5}


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Know two published detectors alone, since counting all takes a while."""
    rows = tuple(row for row in published_detectors() if row.counted_as in FEW)
    monkeypatch.setattr("scaling_lab.paper.buildable.published_detectors", lambda: rows)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """What the script of --export wrote on another machine."""
    rows = [
        {
            **dict.fromkeys(COLUMNS),
            "detector": name,
            "architecture": spec_by_name(name).digest,
            "description": name,
            "device": "a phone",
            "dtype": "float32",
            "batch": 1,
            "threads": 2,
            "backend": "onnxruntime",
            "scope": "end_to_end",
            "median_ms": taken,
            "p90_ms": taken,
            "spread_ms": 1.0,
            "runs": 200,
            "processes": 3,
            "process_spread": 0.01,
            "halves_ms": [taken, taken],
            "method": "anchored",
            "anchor": "x",
            "anchor_ms": 21.0,
            "anchor_drift": 0.01,
            "versions": {"onnxruntime": "1.32.0"},
        }
        for name, taken in TIMES.items()
    ]
    write_rows(tmp_path / "phone.csv", rows)
    return tmp_path / "phone.csv"


# --- published detectors that are built here -----------------------------------------------------------------------------


def test_specs_that_compute_the_same_are_measured_once() -> None:
    found = buildable()
    rows = [row for each in found.values() for row in each.rows]
    assert sorted(row.detector for row in rows) == sorted(
        row.detector for row in published_detectors() if row.counted_as
    )
    d0 = found[spec_by_name("d0").digest]
    assert {row.model for row in d0.rows} >= {
        "EfficientDet-D0",
        "tf_efficientdet_d0_ap",
        "EfficientDet-D0 + Det-AdvProp + AA",
    }
    assert spec_by_name("tf_efficientdet_d0").digest in d0.digests
    assert not {row.model for row in d0.rows} & {"efficientdet_d0", "EfficientDet-D2 (640)"}  # they run otherwise
    assert all(
        each.gmacs == pytest.approx(count(each.spec).gmacs, rel=1e-3) for each in (d0, *list(found.values())[:2])
    )
    sizes = {each.rows[0].image_size for each in found.values() if each.rows[0].counted_as == "d2"}
    assert sizes == {(768, 768), (640, 640)}
    quick = {spec_by_name(name).digest for name in frontier.QUICK}
    assert sum(bool(quick & each.digests) for each in found.values()) == 10


# --- the page ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_few")
def test_latencies_of_another_machine_make_a_page(recorded: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    command = [
        "frontier",
        "--timed",
        str(recorded),
        "--out",
        str(out),
        "--budget-ms",
        "30",
        "100",
        "--budget-gmacs",
        "1",
    ]
    assert main([*command, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["page"] == str(out / "frontier.html")
    assert shown["answer"].startswith("For 30 ms, take tf_efficientdet_lite0: 27.1 AP, 21.0 ms.")
    (one,) = shown["frontiers"]
    assert one["conditions"] == "a phone, 2 threads, batch 1, float32, onnxruntime, with post-processing"
    assert [(row["architecture"], row["latency_ms"]) for row in one["detectors"]] == [
        (spec_by_name(name).digest, taken) for name, taken in TIMES.items()
    ]
    text = (out / "frontier.html").read_text()
    assert "The AP is the published one" in text or "AP is the published one." in text
    assert (out / "tables" / "budgets.csv").read_text().count("\n") == 4
    assert not (out / "latencies.csv").exists()


@pytest.mark.usefixtures("_few")
def test_own_detectors_join_and_are_on_no_front(recorded: Path, tmp_path: Path, capsys: Any) -> None:
    spec = dataclasses.replace(tiny(), image_size=(96, 96))
    study = make_study(space=lambda trial: spec, sampler="grid", trials=None)
    folder = run_study(study, out=tmp_path / "mine", executor="local", objective=Replayed(), stream=None)
    rows = read_rows(recorded)
    write_rows(recorded, [*rows, {**rows[0], "architecture": next(iter(Runs(folder).specs())), "median_ms": 2.5}])
    command = ["frontier", "--timed", str(recorded), "--out", str(tmp_path / "out"), "--add", str(folder), "--json"]
    assert main(command) == 0
    (one,) = json.loads(capsys.readouterr().out)["frontiers"]
    (mine,) = (row for row in one["detectors"] if row["group"] == "own detectors")
    assert mine["label"].startswith("mine: ")
    assert (mine["latency_ms"], mine["on_front"]) == (2.5, False)
    assert mine["ap"] > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--budget-ms", "0"], "--budget-ms is 0; allowed are numbers above 0"),
        (["--add", "nothing.safetensors"], "--add is 'nothing.safetensors'; allowed are a run's folder"),
        (["--add", "best.safetensors=200"], "--add is 'best.safetensors=200'"),
        (["--gmacs", "0.1"], "--gmacs is 0.1; the cheapest published detector here has 0.974"),
        (["--threads", "100000"], "threads is 100000; allowed are 1 to"),
        (["--backend", "cuda_graphs"], "cuda_graphs needs device cuda"),
    ],
)
@pytest.mark.usefixtures("_few")
def test_wrong_input_is_told(options: list[str], words: str, tmp_path: Path, capsys: Any) -> None:
    assert main(["frontier", "--quick", "--out", str(tmp_path / "out"), *options]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out" / "frontier.html").exists()


def test_what_was_not_measured_is_predicted_within_reach(
    recorded: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = next(row for row in published_detectors() if row.counted_as == "lite0")
    tinies = [tiny(width=width) for width in range(8, 44, 4)]
    others = [tiny(width=46), tiny(width=400)]  # 400 is beyond three times the largest measured one
    made = {
        each.digest: Buildable(spec=each, digests=frozenset({each.digest}), rows=(row,)) for each in (*tinies, *others)
    }
    monkeypatch.setattr("scaling_lab.paper.buildable.buildable", lambda: made)
    taken = {each.digest: 3.0 + 1000.0 * count(each).gmacs for each in (*tinies, others[0])}
    first = read_rows(recorded)[0]
    write_rows(recorded, [{**first, "architecture": each.digest, "median_ms": taken[each.digest]} for each in tinies])
    assert main(["frontier", "--timed", str(recorded), "--out", str(tmp_path / "out"), "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["frontiers"]
    assert len(one["detectors"]) == 10
    (guessed,) = (each for each in one["detectors"] if each["group"] == "predicted")
    assert guessed["architecture"] == others[0].digest
    assert guessed["latency_ms"] == pytest.approx(taken[others[0].digest], rel=0.05)
    text = (tmp_path / "out" / "frontier.html").read_text()
    assert "fitted on 9 detectors, has a median error of" in text


@pytest.mark.usefixtures("_few")
def test_two_devices_are_not_mixed(recorded: Path, tmp_path: Path, capsys: Any) -> None:
    rows = read_rows(recorded)
    write_rows(recorded, [rows[0], {**rows[1], "device": "another phone"}])
    assert main(["frontier", "--timed", str(recorded), "--out", str(tmp_path / "out")]) == 2
    assert "has rows of device a phone, another phone; allowed is one device" in capsys.readouterr().err


# --- measuring ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def specs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Take detectors of a millisecond for published ones, measured in this process; return their digests, cheapest first."""

    def run_worker(job: dict[str, Any]) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        worker.work(job, events.append)
        return events

    row = next(row for row in published_detectors() if row.counted_as == "lite0")
    quick = spec_by_name("lite0").digest
    found = [tiny(width=width) for width in (16, 8)]
    made = {spec.digest: Buildable(spec=spec, digests=frozenset({spec.digest, quick}), rows=(row,)) for spec in found}
    monkeypatch.setattr("scaling_lab.paper.buildable.buildable", lambda: made)
    monkeypatch.setattr(protocol, "run_worker", run_worker)
    monkeypatch.setitem(timing.WARM_UP, "most", 10)
    return [spec.digest for spec in reversed(found)]


def test_it_begins_with_the_cheapest_and_continues(
    specs: list[str], tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    command = ["frontier", "--quick", "--anyway", "--out", str(tmp_path)]
    run, jobs = protocol.run_worker, []

    def stops(job: dict[str, Any]) -> Any:
        jobs.append(job["specs"][0]["width"])
        if len(jobs) == 2:
            raise UnsteadyDevice("the second is not measured")
        return run(job)

    monkeypatch.setattr(protocol, "run_worker", stops)
    assert main(command) == 2
    captured = capsys.readouterr()
    assert "the second is not measured" in captured.err
    assert "take " in captured.out  # the page has what was measured
    first = read_rows(tmp_path / "latencies.csv")
    assert [row["architecture"] for row in first] == specs[:1]
    assert main(command) == 0
    rows = read_rows(tmp_path / "latencies.csv")
    assert [row["architecture"] for row in rows] == specs
    assert rows[0]["median_ms"] == first[0]["median_ms"]
    assert {row["anchor"] for row in rows} == {specs[0]}  # all beside one anchor
    assert {row["scope"] for row in rows} == {"end_to_end"}
    assert jobs == [8, 16, 16]
    assert (tmp_path / "frontier.html").exists()


def test_what_cannot_run_is_named_and_the_rest_is_measured(
    specs: list[str], tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    run = protocol.run_worker

    def fails(job: dict[str, Any]) -> Any:
        if job["specs"][0]["width"] == 8:
            raise UserError("the narrow one cannot run")
        return run(job)

    monkeypatch.setattr(protocol, "run_worker", fails)
    assert main(["frontier", "--quick", "--anyway", "--out", str(tmp_path)]) == 0
    assert "not measured: the narrow one cannot run (as lite0)" in capsys.readouterr().err
    assert [row["architecture"] for row in read_rows(tmp_path / "latencies.csv")] == specs[1:]
    assert "the narrow one cannot run" in (tmp_path / "frontier.html").read_text()
