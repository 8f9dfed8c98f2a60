"""The command line as a user meets it: output, JSON, exit codes, and one line for what is wrong."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from scaling_lab import Runs, efficientdet
from scaling_lab.cli import main
from scaling_lab.starter import FOLDERS, starter_folder
from tests.coco_files import write_coco

ROOT = Path(__file__).parents[1]
STUDIES = sorted((ROOT / "studies").glob("*.py"))


def _fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run what must fail; give its one line."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    return lines[0]


def test_show_draws_a_topology_and_its_json_is_a_spec(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "bifpn"]) == 0
    shown = capsys.readouterr().out
    assert "8 nodes, 19 edges" in shown
    assert re.search(r"^P5  2  6<2,5 +10<2,6,9\*$", shown, re.MULTILINE)
    assert main(["show", "d3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == efficientdet("d3").to_dict()


def test_count_prints_the_parts_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["count", "d0"]) == 0
    assert re.search(r"d0 +all +3,880,067 +2\.492", capsys.readouterr().out)
    assert main(["count", "d0", "--topology", "quad_fpn", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["d0"]["params"] == 4_131_418


def test_a_spec_file_can_be_changed_on_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.json"
    path.write_text(efficientdet("d0").to_json())
    changes = ["--width", "32", "--image-size", "256", "--max-level", "6", "--fusion", "sum", "--repeats", "1"]
    assert main(["show", str(path), "--json", *changes]) == 0
    spec = json.loads(capsys.readouterr().out)
    assert (spec["width"], spec["image_size"], spec["repeats"]) == (32, [256, 256], 1)
    assert spec["topology"]["max_level"] == 6
    assert spec["topology"]["nodes"][0][2] == "sum"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "d9"], "'d9' is no detector; allowed are a released model (d0, "),
        (["count", "d0", "--topology", "bipfn"], "topology 'bipfn' is unknown; allowed are none, bifpn"),
        (["count", "missing.json"], "missing.json cannot be read: No such file or directory"),
        (["count", "d0", "--width", "-3"], "width is -3; allowed are whole numbers from 1"),
        (["run", "studies/missing.py"], "studies/missing.py"),
        (["run", "studies/topology_ablation.py", "--form", "huge"], "form 'huge' is unknown; allowed are smoke, seeds"),
        (["run", "studies/topology_ablation.py", "--data", "voc:x"], "voc:x"),
        (["report", "runs/missing"], "runs/missing"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_two(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert message in _fails(arguments, capsys)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("STUDY = (", "broken.py:1: SyntaxError"),
        ("x = 1", "STUDY"),
        ("STUDY = 3", "STUDY"),
        ("from scaling_lab import Study\nSTUDY = Study(questoin='x')", "questoin"),
        ("1 / 0", "division by zero"),
    ],
)
def test_a_broken_study_file_is_named(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text(text)
    line = _fails(["run", "broken.py"], capsys)
    assert "broken.py" in line
    assert message in line
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    study = str(ROOT / "studies" / "topology_ablation.py")
    line = _fails(["run", study, "--form", "smoke", "--out", str(tmp_path / "file" / "run")], capsys)
    assert str(tmp_path / "file") in line


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_every_shipped_study_runs_in_its_smoke_form_and_reports(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", str(study), "--form", "smoke", "--executor", "local", "--out", str(tmp_path / "run")]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    page = Path(re.search(r"^report: (.+)$", shown, re.MULTILINE)[1])  # type: ignore[index]
    assert page.is_file()
    assert "<html" in page.read_text()
    table = Runs(tmp_path / "run").table()
    assert list(table["state"]) == ["complete"] * len(table)
    assert len(table) == 2
    assert table["latency_ms"].notna().all()
    trained = sorted((tmp_path / "run" / "trials").rglob("weights.pt"))
    stamps = [path.stat().st_mtime_ns for path in trained]
    assert main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert "done" in captured.err
    assert len(json.loads(captured.out)["trials"]) == 2
    assert [path.stat().st_mtime_ns for path in trained] == stamps


def test_a_study_runs_on_a_folder_in_cocos_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_coco(tmp_path / "coco", train=16, val=6)
    study = str(ROOT / "studies" / "topology_ablation.py")
    arguments = ["run", study, "--form", "smoke", "--executor", "local", "--out", str(tmp_path / "run")]
    assert main([*arguments, "--data", f"coco:{tmp_path / 'coco'}"]) == 0
    assert "report: " in capsys.readouterr().out
    runs = Runs(tmp_path / "run")
    assert list(runs.table()["state"]) == ["complete", "complete"]
    assert runs.meta["data"]["kind"] == "coco"
    (tmp_path / "coco" / "annotations" / "instances_val2017.json").write_text("{")
    assert "instances_val2017.json" in _fails([*arguments, "--data", f"coco:{tmp_path / 'coco'}"], capsys)


def test_init_copies_the_three_folders_which_then_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["init", str(tmp_path / "mine")]) == 0
    assert "studies/topology_ablation.py" in capsys.readouterr().out
    for folder in FOLDERS:
        shipped = {path.name for path in (starter_folder() / folder).glob("*.py")}
        assert {path.name for path in (tmp_path / "mine" / folder).iterdir()} == shipped
        assert shipped
    assert "is not an empty folder" in _fails(["init", str(tmp_path / "mine")], capsys)
    monkeypatch.chdir(tmp_path / "mine")
    shutil.rmtree(tmp_path / "mine" / "reports")
    assert main(["run", "studies/topology_ablation.py", "--form", "smoke", "--executor", "local"]) == 0
