"""measure --export and --timed: the script runs with onnxruntime and numpy alone, and its CSV is read everywhere."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from scaling_lab.cli import main
from scaling_lab.cost import count
from scaling_lab.latency import seen, timing
from scaling_lab.latency.conditions import Conditions
from scaling_lab.latency.model import LatencyModel
from scaling_lab.latency.rules import Protocol
from scaling_lab.runs.latencies import COLUMNS, read_rows, write_rows
from tests.latency.tiny import tiny

SPACE = """
from tests.latency.tiny import tiny

def space(trial):
    return tiny(width=trial.suggest_int("width", 8, 64, step=4), head_repeats=trial.suggest_int("heads", 1, 3))
"""
QUICK = ["--runs", "10", "--processes", "1", "--warm-runs", "2", "--method", "unchecked", "--device", "a phone"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two detectors, exported with post-processing."""
    found = tmp_path_factory.mktemp("export")
    names = []
    for width in (8, 16):
        path = found / f"{width}.json"
        path.write_text(tiny(width=width).to_json())
        names.append(str(path))
    assert main(["measure", *names, "--scope", "end_to_end", "--export", str(found / "phone")]) == 0
    return found / "phone"


def test_the_folder_has_files_and_a_manifest(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["columns"] == list(COLUMNS)
    first, second = manifest["detectors"]
    assert first["architecture"] == tiny(width=8).digest
    assert (first["batch"], first["scope"], first["backend"]) == (1, "end_to_end", "onnxruntime")
    assert first["gmacs"] == pytest.approx(count(tiny(width=8)).gmacs)
    assert (folder / second["file"]).is_file()
    assert (folder / "time_onnx.py").read_text().count("scaling_lab.") == 0


def test_the_script_runs_with_two_packages_alone(folder: Path, tmp_path: Path, capsys: Any) -> None:
    """Python without its site folders, in a folder that has links to onnxruntime's and numpy's files alone."""
    alone = tmp_path / "alone"
    alone.mkdir()
    for module in (onnxruntime, np):
        source = Path(str(module.__file__)).parent
        for each in (source, source.with_name(f"{source.name}.libs")):
            if each.is_dir():
                (alone / each.name).symlink_to(each)
    out = tmp_path / "phone.csv"
    done = subprocess.run(
        [sys.executable, "-S", str(folder / "time_onnx.py"), *QUICK, "--out", str(out)],
        env={"PYTHONPATH": str(alone)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = read_rows(out)
    assert [row["architecture"] for row in rows] == [tiny(width=width).digest for width in (8, 16)]
    for row in rows:
        assert (row["device"], row["backend"], row["scope"], row["threads"]) == (
            "a phone",
            "onnxruntime",
            "end_to_end",
            1,
        )
        assert (row["runs"], row["processes"], row["method"]) == (10, 1, "unchecked")
        assert row["anchor"] == tiny(width=8).digest
        assert row["versions"] == {"onnxruntime": onnxruntime.__version__, "outputs": "spread"}
        assert 0 < row["median_ms"] <= row["p90_ms"]
        assert len(row["halves_ms"]) == 2
    assert main(["report", str(out), "--out", str(tmp_path / "report")]) == 0
    assert "a phone, 1 thread, batch 1" in (tmp_path / "report" / "latency.html").read_text()


def test_the_script_has_the_protocol_of_measure(folder: Path) -> None:
    """A device that drifts has too few valid runs, here as there; times are recorded ones."""
    spec = importlib.util.spec_from_file_location("alone", folder / "time_onnx.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    sys.modules["alone"] = script  # for its dataclasses
    spec.loader.exec_module(script)
    protocol = Protocol(runs=10, processes=2)
    blocks = [(0, 10.0, 10.1, [5.0] * 5), (0, 10.0, 11.0, [9.0] * 5), (1, 10.0, 10.0, [6.0] * 5)]
    for module in (script, seen):
        found = module.Seen(blocks=[module.Block(*each) for each in blocks])
        assert found.is_enough(10.0, protocol)
        assert not found.is_enough(10.0, Protocol(runs=15, processes=2))
        row = found.row(10.0, protocol)
        assert (row["median_ms"], row["runs"], row["processes"]) == (5.5, 10, 2)
        assert row["process_spread"] == pytest.approx(1.0 / 5.5)
        assert row["halves_ms"] == [5.0, 6.0]
        assert row["anchor_drift"] == pytest.approx(0.01)
    assert (script.DRIFT, script.BLOCK, script.EVERY) == (timing.DRIFT, timing.BLOCK, timing.EVERY)
    images = script.images_for(2, 32, 48)
    assert images.shape == (2, 3, 32, 48)
    assert images.dtype == np.float32


def test_files_that_exist_are_kept(folder: Path, capsys: Any) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.onnx")}
    named = [str(folder.parent / f"{width}.json") for width in (8, 16)]
    assert main(["measure", *named, "--scope", "end_to_end", "--export", str(folder)]) == 0
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.onnx")} == before
    assert "python phone/time_onnx.py --out latencies.csv" in capsys.readouterr().out


# --- a latency model of another machine ----------------------------------------------------------------------------------


def _timed(width: int, heads: int) -> dict[str, Any]:
    spec = tiny(width=width, head_repeats=heads)
    taken = 2.0 + 40.0 * count(spec).gmacs + 0.5 * count(spec).activations_m
    return {
        **dict.fromkeys(COLUMNS), **Conditions(scope="network").to_dict(), "detector": "space",
        "architecture": spec.digest, "description": "x", "device": "a phone", "backend": "onnxruntime",
        "median_ms": taken, "p90_ms": taken, "spread_ms": 0.1, "runs": 200, "processes": 3, "process_spread": 0.01,
        "halves_ms": [taken, taken], "method": "anchored", "anchor": spec.digest, "anchor_ms": taken, "anchor_drift": 0.0,
        "versions": {"onnxruntime": "1.32.0"},
    }  # fmt: skip


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    """What a phone takes for every detector of the space, as an exact sum over multiply-adds and activations."""
    write_rows(tmp_path / "phone.csv", [_timed(width, heads) for width in range(8, 65, 4) for heads in (1, 2, 3)])
    return tmp_path / "phone.csv"


def test_a_model_is_fitted_to_what_another_machine_took(phone: Path, tmp_path: Path, capsys: Any) -> None:
    space, model = tmp_path / "space.py", tmp_path / "phone.json"
    space.write_text(SPACE)
    assert main(["measure", str(space), "--timed", str(phone), "--fit", str(model)]) == 0
    assert "fitted on 30 detectors; on 15 held-out ones the median error is" in capsys.readouterr().out
    found = LatencyModel.load(model)
    assert (found.device, found.conditions["backend"]) == ("a phone", "onnxruntime")
    assert found.quality["median_error"] < 0.01
    for width, heads in ((8, 1), (32, 2), (64, 3)):
        wanted = _timed(width, heads)["median_ms"]
        assert found.predict(tiny(width=width, head_repeats=heads)) == pytest.approx(wanted, rel=0.02)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--timed", "phone.csv"], "--timed is for --fit"),
        (["--timed", "phone.csv", "--fit", "m.json"], "phone.csv has 45 detectors that small.json does not give"),
        (["--export", "folder", "--fit", "m.json"], "--export measures nothing, so it does not go with --fit"),
        (["--export", "folder", "--dtype", "bf16"], "--export is for float32 on a processor, not bf16 on cpu"),
    ],
)
def test_what_does_not_go_together_is_told(
    options: list[str], words: str, phone: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(phone.parent)
    Path("small.json").write_text(tiny(width=9).to_json())
    assert main(["measure", "small.json", *options]) == 2
    assert words in capsys.readouterr().err
    assert {path.name for path in Path().iterdir()} == {"phone.csv", "small.json"}
