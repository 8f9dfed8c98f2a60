"""Files of a run that are gone, cut or of another kind: what can go on goes on, and the rest is said in one line."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from scaling_lab import DetectorSpec, Recipe, Shapes, topologies
from scaling_lab.cli import main
from scaling_lab.errors import UserError
from scaling_lab.report import write_report
from scaling_lab.runs.reader import Runs
from scaling_lab.study.plan.planner import make_plan
from scaling_lab.study.run.runner import run_study, training_objective
from scaling_lab.training.checkpoint import read_state, write_whole
from scaling_lab.training.failures import BadCheckpoint
from tests.faults.afterwards import look_at
from tests.report.fixture_run import Fixture, topology_trials, write_run
from tests.study.engine import Replayed, count, make_study, rows, spec

DAMAGES: Mapping[str, Callable[[Path], Any]] = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "text": lambda path: path.write_text("no such file\n" * 99),
    "bytes": lambda path: path.write_bytes(b"\xff\xfe" * 99),
    "list": lambda path: path.write_text("[1, 2]"),
    "lists": lambda path: path.write_text("[[]]"),
    "dict": lambda path: path.write_text('{"a": 1}'),
    "dicts": lambda path: path.write_text('[{"image_id": 1, "detections": [{"bbox": [1, 2], "score": 1}]}]'),
    "number": lambda path: path.write_text("3"),
    "null": lambda path: path.write_text("null"),
    "words": lambda path: path.write_text('"abc"'),
}
damaged = pytest.mark.parametrize("damage", DAMAGES)


def refused(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """Give the one line with which a verb refuses."""
    capsys.readouterr()
    assert main(list(command)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line.removeprefix("scaling-lab: ")


# --- the ledger ----------------------------------------------------------------------------------------------------------


@damaged
def test_a_damaged_ledger_is_one_line_in_every_verb(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run_study(make_study(trials=2), out=tmp_path / "run", executor="local", count=count, objective=Replayed(),
                    stream=None)  # fmt: skip
    other = shutil.copytree(out, tmp_path / "other")
    ledger = out / "ledger.sqlite"
    DAMAGES[damage](ledger)
    before = ledger.read_bytes() if ledger.exists() else None
    verbs = [("status", str(out)), ("show", str(out)), ("report", str(out)), ("measure", str(out)),
             ("report", str(other), str(out))]  # fmt: skip
    said = {refused(capsys, *verb) for verb in verbs}
    with pytest.raises(UserError) as error:
        run_study(make_study(trials=2), out=out, executor="local", count=count, objective=Replayed(), stream=None)
    said.add(str(error.value))
    said |= set(make_plan(make_study(trials=2), out=out, measure=False, count=count).problems)
    assert all(str(out) in line for line in said)
    if damage not in ("gone", "empty"):
        assert all("restore a copy, or run the study again in another folder" in line for line in said)
    assert (ledger.read_bytes() if ledger.exists() else None) == before


def test_a_ledger_with_pages_of_zeros_is_found_before_anything_is_trained(tmp_path: Path) -> None:
    options: dict[str, Any] = {"executor": "local", "count": count, "stream": None}
    out = run_study(make_study(), out=tmp_path / "run", objective=Replayed(), **options)
    content = bytearray((out / "ledger.sqlite").read_bytes())
    content[8 * 4096 : 12 * 4096] = bytes(4 * 4096)
    (out / "ledger.sqlite").write_bytes(content)

    def never(*_: Any) -> dict[str, Any]:
        raise AssertionError("nothing was to be run")

    with pytest.raises(UserError, match="it is damaged"):
        run_study(make_study(seeds=(0, 1)), out=out, objective=never, **options)


# --- what the ledger can do without --------------------------------------------------------------------------------------


@damaged
def test_what_is_written_anew_may_be_damaged(tmp_path: Path, damage: str) -> None:
    """The journal, the specs, and what a trial has reported and not ended."""
    options: dict[str, Any] = {"executor": "local", "count": count, "stream": None}
    out = tmp_path / "run"

    def interrupted(spec: DetectorSpec, seed: int, folder: Path, report: Any) -> Any:
        def once(metrics: dict[str, Any]) -> None:
            report(metrics)
            if (folder.name, metrics["epoch"]) == ("2", 2):
                raise KeyboardInterrupt

        return Replayed()(spec, seed, folder, once)

    with pytest.raises(KeyboardInterrupt):
        run_study(make_study(trials=2), out=out, objective=interrupted, **options)
    specs = {path.name: path.read_text() for path in (out / "specs").iterdir()}
    for name in ("optuna.journal", "provenance.json", "trials/2/epochs.jsonl", *(f"specs/{name}" for name in specs)):
        DAMAGES[damage](out / name)
    run_study(make_study(trials=2), out=out, objective=Replayed(), **options)
    assert [(row["state"], row["epochs_done"]) for row in rows(out)] == [("complete", 3)] * 2
    assert len(Runs(out).epochs()) == 6
    assert {path.name: path.read_text() for path in (out / "specs").iterdir()} == specs


# --- what a report shows -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    trials = topology_trials(seeds=(0,), names=("fpn", "bifpn"))
    return write_run(tmp_path_factory.mktemp("pictured") / "run", Fixture(trials=trials, samples=2))


@damaged
@pytest.mark.parametrize("name", ["trials/1/detections.json", "samples/ground_truth.json"])
def test_a_file_of_another_kind_is_named_with_what_to_do(pictured: Path, name: str, damage: str) -> None:
    path = pictured / name
    whole = path.read_bytes()
    DAMAGES[damage](path)
    runs = Runs(pictured)

    def read() -> list[Any]:
        return [runs.samples(), runs.category_names()] if "samples" in name else [runs.detections(1)]

    try:
        if damage == "gone":
            assert not any(read())
        else:
            with pytest.raises(UserError) as error:
                read()
            assert str(error.value).startswith(f"{path} is damaged (")
            assert str(error.value).endswith("); remove it, and the report omits its pictures")
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["trials/1/detections.json", "samples/ground_truth.json", "samples/1.png"])
def test_without_a_damaged_picture_there_is_a_report(
    pictured: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pictured / name
    whole = path.read_bytes()
    os.truncate(path, 100)
    try:
        assert refused(capsys, "report", str(pictured)).startswith(f"{path} is damaged (")
        path.unlink()
        write_report(pictured, compact=True)
    finally:
        path.write_bytes(whole)


# --- a checkpoint --------------------------------------------------------------------------------------------------------


class Executed:
    """What a pickle can do to who loads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@damaged
def test_a_checkpoint_that_is_none_is_named_with_what_to_do(tmp_path: Path, damage: str) -> None:
    if damage == "gone":
        return
    path = tmp_path / "checkpoint.pt"
    write_whole(path, {"epoch": 1, "model": torch.ones(9999)})
    assert read_state(path, ("epoch", "model"), torch.device("cpu"))["epoch"] == 1
    DAMAGES[damage](path)
    with pytest.raises(BadCheckpoint) as error:
        read_state(path, ("epoch",), torch.device("cpu"))
    assert str(error.value).startswith(f"{path} is ")
    assert str(error.value).endswith("; remove it to train from the start")


def test_no_wrong_number_and_no_code_comes_out_of_a_checkpoint(tmp_path: Path) -> None:
    path, device = tmp_path / "checkpoint.pt", torch.device("cpu")
    write_whole(path, {"epoch": 1, "model": torch.ones(9999)})
    content = bytearray(path.read_bytes())
    content[20000:20004] = bytes(4)  # one weight
    path.write_bytes(content)
    with pytest.raises(BadCheckpoint, match="wrong checksum of archive/data/0"):
        read_state(path, ("epoch",), device)
    torch.save({"epoch": 1, "model": Executed(tmp_path / "executed")}, path)
    with pytest.raises(BadCheckpoint, match="allowed is a file of tensors and plain values"):
        read_state(path, ("epoch",), device)
    assert not (tmp_path / "executed").exists()
    for other, words in (([1], "it holds list"), ({"epoch": 1}, "it has no model")):
        torch.save(other, path)
        with pytest.raises(BadCheckpoint, match=f"is not a checkpoint of a training run .{words}"):
            read_state(path, ("epoch", "model"), device)


@pytest.mark.parametrize("damage", ["cut", "other"])
@pytest.mark.slow
def test_a_trial_whose_checkpoint_is_damaged_fails_alone_and_is_trained_anew_when_asked_for(
    tmp_path: Path, damage: str
) -> None:
    def space(trial: Any) -> DetectorSpec:
        return spec(topologies.fpn(3, 7), width=trial.suggest_categorical("width", [8, 16]))

    study = make_study(
        space=space, data=Shapes(train_images=4, val_images=2), recipe=Recipe.short(epochs=2, batch_size=4)
    )
    training, out = training_objective(study), tmp_path / "run"
    options: dict[str, Any] = {"executor": "local", "count": count, "stream": None}

    def interrupted(spec: DetectorSpec, seed: int, folder: Path, report: Any) -> Any:
        def once(metrics: dict[str, Any]) -> None:
            report(metrics)
            raise KeyboardInterrupt

        return training(spec, seed, folder, once)

    with pytest.raises(KeyboardInterrupt):
        run_study(study, out=out, objective=interrupted, **options)
    path = out / "trials" / "1" / "checkpoint.pt"
    if damage == "other":
        torch.save({**torch.load(path, weights_only=True), "model": {"weight": torch.ones(2)}}, path)
    else:
        DAMAGES[damage](path)
    run_study(study, out=out, **options)
    first, second = rows(out)
    assert (first["state"], first["failure_kind"], second["state"]) == ("failed", "bad_checkpoint", "complete")
    assert first["failure_message"].startswith(f"{path} is ")
    look_at(out)

    stream = io.StringIO()
    run_study(study, out=out, retry_failed=True, **{**options, "stream": stream})
    assert "1 failed trial will be rerun" in stream.getvalue()
    assert [(row["state"], row["epochs_done"]) for row in rows(out)] == [("complete", 2)] * 2
    assert rows(out)[1] == second
    assert (out / "trials" / "1.failed-1" / "checkpoint.pt").exists()
    look_at(out)


@damaged
def test_damaged_weights_of_a_trial_are_named(tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "weights.pt"
    write_whole(path, {"spec": spec(topologies.fpn(3, 7)).to_dict(), "state": {"weight": torch.ones(99)}})
    DAMAGES[damage](path)
    line = refused(capsys, "evaluate", "--weights", str(path), "--data", "shapes,val_images=2")
    assert str(path) in line
