"""Commands that meet a full disk, a place without rights, or another of their kind: one line, and nothing is lost."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from scaling_lab import build
from scaling_lab.cli import main
from scaling_lab.cli.train import LOCK
from scaling_lab.runs.lock import WriterLock
from search_spaces.compound import SMALL
from tests.coco_files import write_coco
from tests.disks import NOBODY, fill, resize, small_disk, without_rights

SPEC = dataclasses.replace(SMALL.base, repeats=1, image_size=(64, 64), num_classes=3)
SIZES = ["--set", "batch_size=4", "--set", "epochs=2", "--workers", "0", "--device", "cpu"]
TRAIN = ["train", "small.json", "--data", "coco:coco", *SIZES]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small detector's file, its weights, and data, of which each test has a copy."""
    folder = tmp_path_factory.mktemp("written")
    write_coco(folder / "coco", train=8, val=4)
    (folder / "small.json").write_text(SPEC.to_json())
    torch.save({"spec": SPEC.to_dict(), "state": build(SPEC).state_dict()}, folder / "weights.pt")
    return folder


@pytest.fixture
def project(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


# --- a full disk -----------------------------------------------------------------------------------------------------


def test_a_training_run_that_finds_no_room_goes_on_later(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, "--out", "whole"]) == 0
    size = sum(each.stat().st_size for each in Path("whole").iterdir())
    capsys.readouterr()
    with small_disk(project / "disk", 64) as disk:
        out = disk / "run"
        line = _fails([*TRAIN, "--out", str(out)], capsys)
        said = f"scaling-lab: {out / 'checkpoint.pt'} cannot be written: No space left on device; "
        assert line == said + "finished epochs are kept, and the same command continues"
        assert {each.name for each in out.iterdir()} <= {"run.json", *(each.name for each in out.glob("events.*"))}
        resize(disk, size * 2 // 1000)
        assert main([*TRAIN, "--out", str(out)]) == 0
        losses = [
            [json.loads(line)["loss"] for line in (folder / "epochs.jsonl").read_text().splitlines()]
            for folder in (out, Path("whole"))
        ]
        assert losses[0] == losses[1]
        assert LOCK not in {each.name for each in out.iterdir()}


@pytest.mark.parametrize("ending", [pytest.param("onnx", marks=pytest.mark.slow), "pt2"])
def test_an_export_that_finds_no_room_leaves_the_old_file(
    ending: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(project / "disk", 64) as disk:
        out = disk / f"model.{ending}"
        out.write_text("old")
        line = _fails(["export", str(out), "--model", "small.json"], capsys)
        assert line == f"scaling-lab: {out} cannot be written: No space left on device"
        assert [each.read_text() for each in disk.iterdir()] == ["old"]


def test_pictures_and_sheets_that_find_no_room_are_not_there_by_halves(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = torch.randint(0, 256, (300, 300, 3), dtype=torch.uint8)
    Image.fromarray(noise.numpy()).save("noise.png")
    with small_disk(project / "disk", 64) as disk:
        arguments = ["predict", "weights.pt", "noise.png", "--device", "cpu", "--out", str(disk / "found")]
        line = _fails(arguments, capsys)
        assert line == f"scaling-lab: {disk / 'found' / 'noise.png'} cannot be written: No space left on device"
        assert list((disk / "found").iterdir()) == []
        line = _fails(["data", "coco:coco", "--sheet", str(disk / "sheet.png")], capsys)
        assert line == f"scaling-lab: {disk / 'sheet.png'} cannot be written: No space left on device"
        assert not (disk / "sheet.png").exists()


def test_lists_and_starter_files_that_find_no_room(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with small_disk(project / "disk", 64) as disk:
        line = _fails(["init", str(disk / "mine")], capsys)
        assert re.fullmatch(rf"scaling-lab: {disk}/mine/\S+ cannot be written: No space left on device", line)
        resize(disk, 4096)
        assert main(["init", str(disk / "mine")]) == 0  # it is as empty as before
        capsys.readouterr()
        fill(disk)
        line = _fails(["solve", "--gmacs", "2.5", "--out", str(disk / "d.json")], capsys)
        assert line.startswith(f"scaling-lab: {disk / 'd.json'} cannot be written: ")
        line = _fails(["measure", "small.json", "--out", str(disk / "l.csv")], capsys)
        assert line == f"scaling-lab: {disk / '.l.csv.lock'} cannot be written: No space left on device"
        assert sorted(each.name for each in disk.iterdir()) == ["ballast", "mine"]


# --- no rights -------------------------------------------------------------------------------------------------------


@pytest.fixture
def closed(project: Path) -> Path:
    """A project in which nothing may be written, and `secret` and `half/annotations` may not be read."""
    for each in (project / "secret", project / "secret" / "inner"):
        each.mkdir()
    for name in ("spec.json", "study.py", "weights.pt", "run", "a.png", "latencies.csv"):
        (project / "secret" / name).touch()
    shutil.copytree(project / "coco", project / "half")
    if os.geteuid() == 0:
        for each in (project / "secret", project / "half" / "annotations"):
            os.chown(each, NOBODY, -1)
            each.chmod(0o700)
    project.chmod(0o555)
    return project


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        # What may not be read.
        ("show secret/spec.json", "secret/spec.json"),
        ("show secret/inner", "secret/inner"),
        ("count secret/spec.json", "secret/spec.json"),
        ("measure secret/spec.json", "secret/spec.json"),
        ("measure secret/study.py", "secret/study.py"),
        ("enumerate secret/study.py", "secret/study.py"),
        ("plan secret/study.py", "secret/study.py"),
        ("run secret/study.py", "secret/study.py"),
        ("status secret/run", "secret/run"),
        ("report secret/run", "secret/run"),
        ("report secret/latencies.csv", "secret/latencies.csv"),
        ("solve secret/spec.json --gmacs 1", "secret/spec.json"),
        ("data coco:secret/inner --no-sheet", "secret/inner"),
        ("data voc:secret/inner --no-sheet", "secret/inner"),
        ("data secret/inner --no-sheet", "secret/inner"),
        ("data coco:half --no-sheet", "half/annotations"),
        ("train small.json --data coco:secret/inner", "secret/inner"),
        ("evaluate --weights secret/weights.pt --data coco:coco", "secret/weights.pt"),
        ("export x.pt2 --weights secret/weights.pt", "secret/weights.pt"),
        ("predict secret/weights.pt coco/val2017", "secret/weights.pt"),
        ("predict weights.pt secret/a.png", "secret/a.png"),
        ("init secret/mine", "secret/mine"),
        # What may not be written.
        ("init mine", "mine"),
        ("data coco:coco", "data_sheet.png"),
        ("train small.json --data coco:coco --device cpu", "runs"),
        ("predict weights.pt coco/val2017 --device cpu", "predictions"),
        ("export x.pt2 --model small.json", "x.pt2"),
        ("export x.onnx --model small.json", "x.onnx"),
        ("measure small.json --out l.csv", "l.csv"),
        ("measure small.json --fit l.json", "l.json"),
        ("solve --gmacs 2.5 --out d.json", "d.json"),
        ("doctor --storage runs", "runs"),
    ],
)
def test_what_may_not_be_read_or_written_is_one_line_with_the_path(
    arguments: str, path: str, closed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with without_rights():
        line = _fails(arguments.split(), capsys)
    assert path in line
    assert "Permission denied" in line


# --- two at once -----------------------------------------------------------------------------------------------------


def test_a_second_training_run_in_a_folder_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    lock = WriterLock(Path("out", LOCK))
    lock.write({})
    line = _fails([*TRAIN, "--out", "out"], capsys)
    assert line.startswith(f"scaling-lab: out is being written by process {os.getpid()} on ")
    assert [each.name for each in Path("out").iterdir()] == [LOCK]
    lock.release()
    assert main([*TRAIN, "--out", "out"]) == 0


def test_a_second_prediction_or_measurement_of_one_place_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("found").mkdir()
    locks = [WriterLock(Path("found/.predict.lock")), WriterLock(Path(".l.csv.lock"))]
    for lock in locks:
        lock.write({})
    line = _fails(["predict", "weights.pt", "coco/val2017", "--device", "cpu", "--out", "found"], capsys)
    assert line.startswith(f"scaling-lab: found is being written by process {os.getpid()} ")
    line = _fails(["measure", "small.json", "--out", "l.csv"], capsys)
    assert line.startswith(f"scaling-lab: l.csv is being written by process {os.getpid()} ")
    for lock in locks:
        lock.remove()


# --- a training run's own files --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a run that is done, of which each test has a copy."""
    folder = shutil.copytree(written, tmp_path_factory.mktemp("done") / "project")
    with contextlib.chdir(folder):
        assert main([*TRAIN, "--out", "run"]) == 0
    return folder


@pytest.fixture
def trained(project: Path, done: Path) -> list[str]:
    """The command that goes on with a run that is done."""
    shutil.copytree(done / "run", "run")
    return [*TRAIN, "--out", "run"]


@pytest.mark.parametrize("content", [b"{", b"[]", b"3", b"\xff\xfe\x00", b"", b"[" * 100_000, None])
def test_settings_that_cannot_be_read_are_said_with_what_to_do(
    content: bytes | None, trained: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("run/run.json")
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    capsys.readouterr()
    line = _fails(trained, capsys)
    assert line.startswith("scaling-lab: run/run.json ")
    assert line.endswith("remove run to start over, or choose another folder with --out")


@pytest.mark.parametrize(
    ("content", "epochs"),
    [
        (b'{"epoch": 1, "lo', [2]),
        (b'{"epoch": 1}\n{"epoch": 2}', [1, 2]),
        (b"\0" * 100, [2]),
        (b"\xff\xfe\n[]\n3\n" + b"[" * 100_000 + b'\n{"epoch": 1}\n', [1, 2]),
        (b"", [2]),
    ],
)
def test_epochs_that_are_no_whole_lines_are_dropped(content: bytes, epochs: list[int], trained: list[str]) -> None:
    """The run tells its last epoch again, which is kept where it is not there."""
    Path("run/epochs.jsonl").write_bytes(content)
    assert main(trained) == 0
    lines = Path("run/epochs.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == epochs


# --- what is printed to ----------------------------------------------------------------------------------------------

_LAB = [sys.executable, "-m", "scaling_lab.cli"]


def _shell(command: str, **changes: str) -> subprocess.CompletedProcess[str]:
    lab = " ".join(_LAB)
    return subprocess.run(
        ["bash", "-c", command.replace("LAB", lab)],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **changes},
        check=False,
    )


@pytest.mark.parametrize(
    "encoding", ["ascii", *(pytest.param(name, marks=pytest.mark.slow) for name in ("latin-1", "cp1252"))]
)
def test_letters_that_the_output_lacks_are_escaped(encoding: str) -> None:
    ended = _shell("LAB reproduce table", PYTHONIOENCODING=encoding)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "\\u2212" in ended.stdout


def test_an_output_that_is_full_closed_or_left_is_no_traceback() -> None:
    full = _shell("LAB show d0 > /dev/full", PYTHONUNBUFFERED="")
    assert (full.returncode, full.stderr) == (2, "scaling-lab: the output cannot be written: No space left on device\n")
    closed = _shell("LAB show d0 >&- <&-")
    assert (closed.returncode, closed.stderr) == (0, "")
    deaf = _shell("LAB show nothing 2>&-")
    assert (deaf.returncode, deaf.stderr) == (2, "")
    left = _shell("LAB reproduce table | head -c 1; exit ${PIPESTATUS[0]}", PYTHONUNBUFFERED="1")
    assert (left.returncode in (0, 141), left.stdout, left.stderr) == (True, "#", "")


def test_a_name_that_is_no_text_is_escaped(tmp_path: Path) -> None:
    (tmp_path / "b\udcffd.json").write_text(SPEC.to_json())
    ended = _shell(f"cd {tmp_path}; LAB count $'b\\xffd.json' && LAB count $'c\\xffd.json'")
    assert ended.returncode == 2
    assert "b\\udcffd.json" in ended.stdout
    assert ended.stderr == "scaling-lab: c\\udcffd.json cannot be read: No such file or directory\n"
