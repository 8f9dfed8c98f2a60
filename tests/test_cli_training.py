"""train and predict as a user meets them: a run that stops and goes on, its files, and boxes drawn into images."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from scaling_lab import Anchors, Coco, build, fit_anchors
from scaling_lab.cli import main, training_log
from scaling_lab.cli.predict import class_names, picture_files
from scaling_lab.cli.train import read_recipe
from scaling_lab.cli.training_log import TrainingLog
from scaling_lab.data.batches import batches
from scaling_lab.errors import UserError
from scaling_lab.model import load_checkpoint
from scaling_lab.training.evaluation import SUMMARY, predict
from search_spaces.compound import SMALL
from tests.coco_files import write_coco
from tests.tensorboard_files import scalars_in

SPEC = dataclasses.replace(SMALL.base, repeats=1, image_size=(64, 64))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small detector's file and data, of which each test has a copy."""
    folder = tmp_path_factory.mktemp("written")
    write_coco(folder / "coco", train=8, val=4)
    (folder / "small.json").write_text(SPEC.to_json())
    return folder


@pytest.fixture
def project(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _train(*arguments: str) -> int:
    sizes = ["--set", "batch_size=4", "--workers", "0", "--device", "cpu"]
    return main(["train", "small.json", "--data", "coco:coco", *sizes, *arguments])


def _epochs(folder: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "epochs.jsonl").read_text().splitlines()]


def _fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


# --- train -----------------------------------------------------------------------------------------------------------


def test_train_writes_weights_curves_and_lines_and_ends_with_cocos_numbers(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train("--set", "epochs=2") == 0
    shown = capsys.readouterr().out
    for epoch in (1, 2):
        said = rf"^epoch {epoch}/2: loss \d+\.\d+, \d+\.\d % waiting for data, \d+\.\d images/s, \d+ s, ap \d+\.\d$"
        assert re.search(said, shown, re.MULTILINE), shown
    assert re.search(rf"^ *{' +'.join(SUMMARY)}$", shown, re.MULTILINE)
    assert "3 classes\n" in shown  # the data's, not the file's 90
    epochs = _epochs("runs/train/small")
    assert [line["epoch"] for line in epochs] == [1, 2]
    assert all(0 <= line["waiting"] <= 1 for line in epochs)
    drawn = scalars_in("runs/train/small")
    assert list(drawn["train/loss"]) == [1, 2, 3, 4]
    assert list(drawn["val/ap"]) == [2, 4]
    assert np.mean([drawn["train/loss"][3], drawn["train/loss"][4]]) == pytest.approx(epochs[1]["loss"], rel=1e-5)
    assert {"train/class_loss", "speed/waiting", "speed/images_per_second", "ap_by_class/disc"} <= set(drawn)
    best = max(epochs, key=lambda line: line["ap"])
    assert f"\nbest: epoch {best['epoch']}, AP {best['ap']:.1f}: runs/train/small/best.pt\n" in shown
    assert drawn["val/best_ap"][4] == pytest.approx(best["ap"])
    assert load_checkpoint(None, "runs/train/small/weights.pt").spec.num_classes == 3
    # What evaluate finds in the file is what the run has measured.
    capsys.readouterr()
    weights = ["--weights", "runs/train/small/weights.pt", "--data", "coco:coco", "--workers", "0", "--device", "cpu"]
    assert main(["evaluate", *weights, "--batch-size", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ap_by_class"] == pytest.approx(epochs[1]["ap_by_class"])


def test_a_run_that_was_stopped_goes_on_and_ends_as_one_that_was_not(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _train("--set", "epochs=4", "--out", "whole") == 0

    keep = TrainingLog.epoch

    def interrupted(log: TrainingLog, metrics: Mapping[str, Any]) -> None:
        keep(log, metrics)
        if metrics["epoch"] == 2:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(TrainingLog, "epoch", interrupted)
        capsys.readouterr()
        assert _train("--set", "epochs=4", "--out", "stopped") == 130
    said = "stopping …\nstopped: stopped holds 2 of 4 epochs; the same command continues from there\n"
    assert capsys.readouterr().out.endswith(said)
    assert len(_epochs("stopped")) == 2
    with Path("stopped/epochs.jsonl").open("a") as file:
        file.write('{"epoch": 9, "lo')  # as a kill leaves it
    assert _train("--set", "epochs=4", "--out", "stopped") == 0
    assert [line["epoch"] for line in _epochs("stopped")] == [1, 2, 3, 4]
    assert [line["loss"] for line in _epochs("stopped")] == [line["loss"] for line in _epochs("whole")]
    assert scalars_in("stopped")["train/loss"] == scalars_in("whole")["train/loss"]
    before = Path("stopped/weights.pt").stat().st_mtime_ns
    assert _train("--set", "epochs=4", "--out", "stopped") == 0
    assert Path("stopped/weights.pt").stat().st_mtime_ns == before  # done is done
    assert [line["epoch"] for line in _epochs("stopped")] == [1, 2, 3, 4]


@pytest.mark.filterwarnings("ignore:.create_unbacked_symint:FutureWarning")  # torchvision's, in export
def test_fitted_anchors_are_the_runs_from_its_settings_to_its_export(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted = fit_anchors(Coco(folder="coco"), SPEC)
    assert fitted.per_position != SPEC.anchors.per_position
    assert _train("--set", "epochs=1", "--anchors", "fit", "--out", "fitted") == 0
    said = rf"^anchors: scale {fitted.scale:g}, octave scales {fitted.octave_scales}, aspects .*; 9 to {fitted.per_position} per"
    assert re.search(said, capsys.readouterr().out, re.MULTILINE)
    settings = json.loads(Path("fitted/run.json").read_text())
    assert Anchors(**settings["spec"]["anchors"]) == fitted
    spec = load_checkpoint(None, "fitted/weights.pt").spec
    assert spec.anchors == fitted
    before = Path("fitted/weights.pt").stat().st_mtime_ns
    assert _train("--set", "epochs=1", "--anchors", "fit", "--out", "fitted") == 0  # the same anchors: done is done
    assert Path("fitted/weights.pt").stat().st_mtime_ns == before
    found = _fails(["train", "small.json", "--data", "coco:coco", "--set", "batch_size=4", "--set", "epochs=1",
        "--workers", "0", "--device", "cpu", "--out", "fitted"], capsys)  # fmt: skip
    assert "fitted holds another run: spec.anchors." in found
    weights = ["--weights", "fitted/weights.pt"]
    assert main(["evaluate", *weights, "--data", "coco:coco", "--workers", "0", "--device", "cpu", "--json"]) == 0
    epoch = _epochs("fitted")[0]
    assert json.loads(capsys.readouterr().out)["ap_by_class"] == pytest.approx(epoch["ap_by_class"])
    assert main(["export", "fitted.pt2", *weights, "--postprocess"]) == 0
    assert Path("fitted.pt2").stat().st_size > 0


def test_weights_for_another_number_of_anchors_are_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    number = fit_anchors(Coco(folder="coco"), SPEC).per_position
    torch.save(build(SPEC).state_dict(), "own.pth")
    message = _fails(["train", "small.json", "--data", "coco:coco", "--weights", "own.pth", "--anchors", "fit"], capsys)
    assert f"own.pth has 9 anchors per position, but the detector {number}; " in message
    assert "--anchors default" in message
    assert not Path("runs").exists()


@pytest.mark.slow
def test_two_processes_train_one_detector(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    still = ["--set", "epochs=2", "--set", "sync_norm=true", "--set", "optimizer=sgd", "--set", "lr=0.005"]
    assert _train(*still, "--out", "one") == 0
    assert _train(*still, "--out", "two", "--processes", "2") == 0
    assert multiprocessing.active_children() == []
    assert not torch.distributed.is_initialized()
    assert [line["epoch"] for line in _epochs("two")] == [1, 2]
    losses = [[line["loss"] for line in _epochs(folder)] for folder in ("one", "two")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert capsys.readouterr().out.count("epoch 2/2: ") == 2
    assert list(scalars_in("two")["train/loss"]) == [1, 2, 3, 4]


@pytest.mark.slow
def test_torchrun_on_two_nodes_trains_one_detector(project: Path) -> None:
    """Two agents on this machine, each with one process, as `torchrun` starts them on two."""
    still = ["--set", "epochs=1", "--set", "sync_norm=true", "--set", "optimizer=sgd", "--set", "lr=0.005"]
    assert _train(*still, "--out", "one") == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", str(port)]
    command = [
        "small.json",
        "--data",
        "coco:coco",
        "--workers",
        "0",
        "--device",
        "cpu",
        "--set",
        "batch_size=4",
        *still,
    ]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(Path(__file__).parents[1])}
    nodes = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *options, "--node-rank", str(node),
             "-m", "scaling_lab.cli", "train", *command, "--out", "two"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )
        for node in (0, 1)
    ]  # fmt: skip
    said = [node.communicate(timeout=600) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    assert "epoch 1/1: loss " in said[0][0]
    assert said[1][0] == ""  # worker 0 alone speaks
    (one,), (two,) = _epochs("one"), _epochs("two")
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
    assert two["ap_by_class"] == pytest.approx(one["ap_by_class"], abs=0.1)


def test_under_torchrun_the_processes_are_its_own(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert _train("--processes", "2") == 2
    said = "--processes is 2; allowed is 1 under torchrun, which starts the processes\n"
    assert capsys.readouterr().err == f"scaling-lab: {said}"


@pytest.mark.slow
def test_what_ends_one_of_two_processes_ends_the_command_with_its_reason(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in sorted(Path("coco/train2017").iterdir())[4:]:
        path.write_bytes(path.read_bytes()[:300])
    assert _train("--set", "epochs=1", "--processes", "2") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert re.search(r"train2017/\d+.jpg cannot be read as an image: .*; allowed is a complete file", line)
    assert multiprocessing.active_children() == []


def test_a_reader_that_is_killed_ends_the_command_with_its_reason_and_the_checkpoint_stays(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, options = TrainingLog.step, ["--set", "epochs=3", "--set", "batch_size=2", "--workers", "1"]

    def killed(log: TrainingLog, step: Mapping[str, float]) -> None:
        keep(log, step)
        if (step["epoch"], step["step"]) == (2, 1):
            (reader,) = multiprocessing.active_children()
            reader.kill()

    with monkeypatch.context() as patched:
        patched.setattr(TrainingLog, "step", killed)
        assert _train(*options) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("scaling-lab: an image reader was ended by SIGKILL")
    assert line.endswith("runs/train/small holds 1 of 3 epochs; the same command continues from there")
    assert multiprocessing.active_children() == []
    assert _train(*options) == 0
    assert [line["epoch"] for line in _epochs("runs/train/small")] == [1, 2, 3]


def _step(epoch: int, step: int) -> dict[str, float]:
    """A step of an epoch of 10, with batches of 4 images and half a second each."""
    seen = {"epoch": epoch, "step": step, "steps": 10, "images": 4}
    return {**seen, "seconds": step / 2, "waited": step / 50, "loss": float(step), "lr": 0.1}


def test_the_bar_says_how_far_the_run_is(tmp_path: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    with TrainingLog(tmp_path, terminal, epochs=2) as log:
        for number in range(1, 11):
            log.step(_step(1, number))
        for number in range(1, 11):
            log.step(_step(1, number))
    drawn = [line for line in terminal.getvalue().split("\r") if "%|" in line]
    assert drawn[0].startswith("epoch 1/2   0%|")
    # An epoch that begins anew, with less memory, does not take the bar beyond its end.
    assert drawn[-1].startswith("epoch 1/2, evaluating  50%|")
    assert "loss 5.500, 4.0 % waiting for data" in drawn[-1]


def test_without_a_terminal_a_line_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_log, "LINES_EVERY", 0.0)
    stream = io.StringIO()
    with TrainingLog(tmp_path, stream, epochs=2) as log:
        log.step(_step(1, 1))
        log.step(_step(1, 2))
    said = "epoch 1/2, step 2/10: loss 1.500, 4.0 % waiting for data, 8.0 images/s, 9 s left"
    assert stream.getvalue().splitlines()[-1] == said


def test_a_folder_is_one_runs_alone(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _train("--set", "epochs=1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["weights"] == "runs/train/small/weights.pt"
    command = ["train", "small.json", "--data", "coco:coco", "--device", "cpu", "--set", "batch_size=4"]
    line = _fails([*command, "--set", "epochs=3", "--width", "16"], capsys)
    assert (
        "runs/train/small holds another run: spec.width is 32 there but 16 here, recipe.epochs is 1 there but 3" in line
    )
    assert "coco holds files but no run.json" in _fails([*command, "--out", "coco"], capsys)
    assert "small.json/x cannot be written: Not a directory" in _fails([*command, "--out", "small.json/x"], capsys)


def test_a_command_that_failed_at_once_can_be_mended(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _train("--set", "batch_size=99") == 2
    assert "batch_size is 99; allowed is up to 8" in capsys.readouterr().err
    assert _train("--set", "epochs=1") == 0


def test_training_starts_from_weights_of_other_classes(project: Path) -> None:
    torch.manual_seed(1)
    other = build(dataclasses.replace(SPEC, num_classes=7))
    torch.save({"spec": other.spec.to_dict(), "state": other.state_dict()}, "other.pt")
    still = ["--set", "epochs=1", "--set", "lr=1e-12", "--set", "weight_decay=0", "--set", "optimizer=sgd"]
    for out in ("one", "two"):
        assert _train(*still, "--weights", "other.pt", "--out", out) == 0
    one, two = (torch.load(f"{out}/weights.pt", weights_only=True)["state"] for out in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)  # the new layer too follows the seed
    for name, tensor in other.named_parameters():
        if not name.startswith("class_head.predict."):
            assert torch.allclose(one[name], tensor, atol=1e-6), name


def test_a_recipe_is_changed_by_texts() -> None:
    changes = ["epochs=3", "jitter=0.5, 1.5", "flip=false", "optimizer=sgd", "lr=1e-3", "pretrained=weights/b0.pth"]
    recipe = read_recipe("short", changes)
    assert (recipe.epochs, recipe.jitter, recipe.flip, recipe.optimizer) == (3, (0.5, 1.5), False, "sgd")
    assert (recipe.lr, recipe.pretrained) == (1e-3, "weights/b0.pth")
    assert read_recipe("paper", ["batch_size=64"]).epochs == 300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["d9", "--data", "shapes"], "detector 'd9' is unknown"),
        (["d0", "--data", "voc"], "--data is 'voc'"),
        (["d0", "--data", "shapes", "--set", "epochs"], "--set is 'epochs'; allowed is NAME=VALUE, such as epochs=20"),
        (["d0", "--data", "shapes", "--set", "epoch=2"], "no field 'epoch' (did you mean 'epochs'?)"),
        (["d0", "--data", "shapes", "--set", "epochs=many"], "recipe.epochs is 'many'; allowed are whole numbers"),
        (["d0", "--data", "shapes", "--workers", "-1"], "--workers is -1; allowed are whole numbers from 0"),
        (["d0", "--data", "shapes", "--processes", "0"], "--processes is 0; allowed are whole numbers from 1"),
        (["d0", "--data", "shapes", "--seed", "-1"], "--seed is -1; allowed are whole numbers from 0"),
        (["d0", "--data", "shapes", "--weights", "x.pth", "--device", "cpu"], "the weights x.pth do not exist"),
        (["d0", "--data", "shapes", "--device", "tpu"], "--device is 'tpu', which cannot be used"),
        (["d0", "--data", "shapes", "--width", "0"], "width is 0; allowed are whole numbers from 1"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_written(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in _fails(["train", *arguments], capsys)
    assert list(tmp_path.iterdir()) == []


# --- predict ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def weights(project: Path) -> str:
    """Weights of three classes whose scores spread, without their classes' names."""
    torch.manual_seed(0)
    detector = build(dataclasses.replace(SPEC, num_classes=3))
    with torch.no_grad():
        detector.class_head.predict.pointwise.weight.mul_(30)  # type: ignore[union-attr,operator]
    torch.save({"spec": detector.spec.to_dict(), "state": detector.state_dict()}, "weights.pt")
    return "weights.pt"


def test_predict_finds_what_the_evaluation_finds(weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    data, detector = Coco(folder="coco"), load_checkpoint(None, weights)
    loader = batches(data, "val", image_size=(64, 96), batch_size=1, pixels=detector.spec.pixels)
    expected = predict(detector, data, loader)
    arguments = ["predict", weights, "coco/val2017", "--data", "coco:coco", "--min-score", "0", "--device", "cpu"]
    assert main([*arguments, "--image-size", "64x96", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = dict(zip(data.category_ids, data.class_names, strict=True))
    assert len(found) == 4
    for image, entry in zip(found, data.entries("val"), strict=True):
        rows = expected[expected[:, 0] == entry.image_id]
        assert image["image"].endswith(entry.file_name)
        assert len(image["detections"]) == len(rows) > 0
        boxes, scores = [one["bbox"] for one in image["detections"]], [one["score"] for one in image["detections"]]
        np.testing.assert_allclose(boxes, rows[:, 1:5], atol=1e-3)
        np.testing.assert_allclose(scores, rows[:, 5], atol=1e-5)
        assert [one["name"] for one in image["detections"]] == [names[int(category)] for category in rows[:, 6]]


def test_predict_draws_boxes_into_copies_of_the_images(weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["predict", weights, "coco/val2017/000000000002.jpg", "--device", "cpu", "--names", "a,b,c"]
    assert main([*arguments, "--min-score", "1"]) == 0
    assert capsys.readouterr().out == "predictions/000000000002.png: nothing\n"
    with Image.open("coco/val2017/000000000002.jpg") as image, Image.open("predictions/000000000002.png") as drawn:
        assert np.array_equal(np.asarray(drawn), np.asarray(image))
    assert main([*arguments, "--min-score", "0"]) == 0
    assert re.fullmatch(r"predictions/000000000002.png: (\d+ [abc](, )?)+\n", capsys.readouterr().out)
    with Image.open("coco/val2017/000000000002.jpg") as image, Image.open("predictions/000000000002.png") as drawn:
        assert drawn.size == image.size
        assert not np.array_equal(np.asarray(drawn), np.asarray(image))


def test_a_broken_image_is_named_and_the_others_are_drawn(weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    whole = sorted(Path("coco/val2017").iterdir())[1]
    whole.write_bytes(whole.read_bytes()[:500])
    assert main(["predict", weights, "coco/val2017", "--device", "cpu"]) == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith(f"scaling-lab: {whole} cannot be read as an image: ")
    assert len(captured.out.splitlines()) == len(list(Path("predictions").iterdir())) == 3


def test_a_photograph_is_turned_upright(weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    Image.new("RGB", (60, 40)).save("photo.jpg", exif=exif)
    assert main(["predict", weights, "photo.jpg", "--device", "cpu", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["width"], found["height"]) == (40, 60)
    with Image.open("predictions/photo.png") as drawn:  # and no viewer turns the picture once more
        assert drawn.size == (40, 60)
        assert 0x0112 not in drawn.getexif()


def test_predict_reads_images_of_a_set_as_they_are_annotated(weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = Path("coco/val2017/000000000002.jpg")
    with Image.open(path) as image:
        width, height = image.size
        image.save(path, exif=exif)  # annotated as it is stored
    found = []
    for data in ([], ["--data", "coco:coco"], ["--data", "coco:coco,orientation=exif"]):
        assert main(["predict", weights, str(path), "--device", "cpu", "--json", *data]) == 0
        (one,) = json.loads(capsys.readouterr().out)
        found.append((one["width"], one["height"]))
    assert found == [(height, width), (width, height), (height, width)]


def test_images_of_any_kind_and_shape_are_drawn_or_named(weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos").mkdir()
    Image.new("RGB", (20_000, 1)).save("photos/long.png")
    Image.new("RGB", (1, 1)).save("photos/dot.webp")
    Image.new("F", (20, 10)).save("photos/float.tif")
    Image.new("RGB", (32, 32)).save("photos/whole.avif")
    content = bytearray(Path("photos/whole.avif").read_bytes())
    content[-40:] = bytes(40)
    Path("photos/damaged.avif").write_bytes(content)
    assert main(["predict", weights, "photos", "--device", "cpu"]) == 1
    captured = capsys.readouterr()
    assert [line.split()[1] for line in captured.err.splitlines()] == ["photos/damaged.avif", "photos/float.tif"]
    assert len(captured.out.splitlines()) == 3
    assert main(["predict", weights, "photos/float.tif", "--device", "cpu", "--white", "1"]) == 0


def test_the_names_of_classes_are_the_runs_own(trained: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["predict", trained, "coco/val2017", "--device", "cpu", "--min-score", "0"]
    assert main([*arguments, "--json"]) == 0
    found = {one["name"] for image in json.loads(capsys.readouterr().out) for one in image["detections"]}
    assert found <= {"small", "square", "disc"}
    assert found


# --- classes by name -------------------------------------------------------------------------------------------------


def _copy(folder: str, ids: Mapping[str, int], names: Mapping[str, str] | None = None) -> None:
    """Copy the data with other ids for the categories of some names, in the ids' order, and other names."""
    shutil.copytree("coco", folder)
    for path in Path(folder, "annotations").iterdir():
        content = json.loads(path.read_text())
        new = {one["id"]: ids[one["name"]] for one in content["categories"]}
        for one in content["categories"]:
            one["id"], one["name"] = new[one["id"]], (names or {}).get(one["name"], one["name"])
        for one in content["annotations"]:
            one["category_id"] = new[one["category_id"]]
        path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def done(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a run of one epoch, of which each test has a copy."""
    folder = shutil.copytree(written, tmp_path_factory.mktemp("done") / "project")
    with contextlib.chdir(folder):
        assert _train("--set", "epochs=1") == 0
    return folder


@pytest.fixture
def trained(project: Path, done: Path) -> str:
    """The file of a run, which knows its classes' names."""
    shutil.copytree(done / "runs", "runs")
    return "runs/train/small/weights.pt"


TURNED = {"disc": 1, "small": 2, "square": 3}


def test_evaluate_and_predict_match_classes_by_name(trained: str, capsys: pytest.CaptureFixture[str]) -> None:
    _copy("turned", TURNED)
    found = []
    for data in ("coco", "turned"):
        assert main(["evaluate", "--weights", trained, "--data", f"coco:{data}", "--workers", "0", "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["classes"] == "classes match categories by name"
    assert list(found[1]["ap_by_class"]) == ["disc", "small", "square"]
    assert found[1]["ap_by_class"] == found[0]["ap_by_class"]
    picture = ["predict", trained, "coco/val2017/000000000002.jpg", "--min-score", "0", "--json"]
    drawn = []
    for arguments in ([], ["--data", "coco:turned"]):
        assert main([*picture, *arguments]) == 0
        drawn.append(json.loads(capsys.readouterr().out)[0]["detections"])
    assert drawn[0] == drawn[1] != []


def test_evaluate_and_predict_say_which_classes_differ(trained: str, capsys: pytest.CaptureFixture[str]) -> None:
    _copy("other", TURNED, {"disc": "wheel", "small": "Small"})
    said = (
        "scaling-lab: the weights' classes do not match the data's: in the data, but not in the weights: 'wheel', 'Small'; in "
        "the weights, but not in the data: 'small', 'disc'; 'Small' and 'small' differ only in case, spaces or hyphens; "
    )
    assert _fails(["evaluate", "--weights", trained, "--data", "coco:other"], capsys).startswith(said)
    assert _fails(["predict", trained, "coco/val2017", "--data", "coco:other"], capsys).startswith(said)


def test_a_run_starts_from_weights_by_its_classes_names(trained: str, capsys: pytest.CaptureFixture[str]) -> None:
    _copy("turned", TURNED)
    _copy("other", TURNED, {"disc": "wheel"})
    start = ["train", "small.json", "--workers", "0", "--device", "cpu", "--set", "epochs=1", "--set", "batch_size=4"]
    # Nothing is learned at such a rate: what the run ends with is what it started from.
    start += ["--weights", trained, "--set", "lr=1e-12", "--set", "ema_decay=0"]
    layer, before = "class_head.predict.pointwise.bias", load_checkpoint(None, trained)
    by_name = dict(zip(before.class_names or (), before.state_dict()[layer].reshape(9, 3).T, strict=True))
    for data, said in (("turned", "rows are matched by class name"), ("other", "the class layer is newly initialised")):
        assert main([*start, "--data", f"coco:{data}", "--out", f"run_{data}"]) == 0
        assert said in capsys.readouterr().err
        after = load_checkpoint(None, f"run_{data}/weights.pt")
        assert after.class_names == (("disc", "small", "square") if data == "turned" else ("wheel", "small", "square"))
        for name, bias in zip(after.class_names, after.state_dict()[layer].reshape(9, 3).T, strict=True):
            expected = by_name[name] if data == "turned" else torch.full((9,), -np.log(99))
            torch.testing.assert_close(bias, expected, atol=1e-6, rtol=1e-6)


def test_a_checkpoint_knows_its_detector_and_averaged_weights(trained: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "--data", "coco:coco", "--workers", "0", "--json", "--weights"]
    results = []
    for name in ("weights.pt", "checkpoint.pt"):
        assert main([*arguments, str(Path(trained).with_name(name))]) == 0
        shown = capsys.readouterr()
        results.append(json.loads(shown.out))
    assert results[0]["ap_by_class"] == results[1]["ap_by_class"]
    assert shown.err.startswith("runs/train/small/checkpoint.pt: the averaged weights under 'average' are used")


def test_pretrained_weights_beside_those_of_the_whole_detector_are_refused(
    trained: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--weights", trained, "--set", "pretrained=b.pth", "--set", "epochs=1", "--out", "both"]
    assert _train(*arguments) == 2
    assert "recipe.pretrained is 'b.pth', but --weights has the whole detector" in capsys.readouterr().err


def test_a_run_goes_on_without_its_pretrained_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(build(SPEC).state_dict(), "backbone.pth")
    arguments = ["--set", "pretrained=backbone.pth", "--set", "epochs=1"]
    assert _train(*arguments) == 0
    Path("backbone.pth").unlink()
    assert _train(*arguments) == 0
    assert _train(*arguments, "--out", "new") == 2
    assert "recipe.pretrained is 'backbone.pth', which cannot be read" in capsys.readouterr().err


def test_the_released_models_classes_are_cocos_ids(tmp_path: Path) -> None:
    torch.save({"state": {"x": torch.zeros(1)}}, tmp_path / "weights.pt")
    options = argparse.Namespace(names=None, data=None, weights=tmp_path / "weights.pt")
    names = class_names(options, 90)
    assert (len(names), names[0], names[12], names[89]) == (90, "person", "stop sign", "toothbrush")
    assert class_names(options, 2) == ["class 0", "class 1"]


def test_names_from_a_file_can_be_printed(tmp_path: Path) -> None:
    options = argparse.Namespace(names=None, data=None, weights=tmp_path / "weights.pt")
    names = ("größe", "象", "\x1b[2J", "\ud800")
    assert class_names(options, 4, names) == ["größe", "象", "\\x1b[2J", "\\ud800"]


def test_no_picture_replaces_another_or_an_image() -> None:
    files = [Path("a/x.jpg"), Path("b/x.jpg"), Path("b/x.tif")]
    assert [path.name for path in picture_files(files, Path("out"))] == ["x.png", "x_2.png", "x_3.png"]
    with pytest.raises(UserError, match=r"a/x.png is an input image and would be overwritten; choose another"):
        picture_files([Path("a/x.png")], Path("a"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photo.jpg"], "photo.jpg does not exist; allowed are images and folders with images"),
        (["coco"], "the folder coco holds no image; image names end in .avif, .bmp, "),
        (["coco/val2017", "--min-score", "2"], "--min-score is 2.0; allowed are finite numbers from 0 to 1"),
        (["coco/val2017", "--names", "a,b"], "--names: the list 'a,b' has 2 names; the detector has 3 classes"),
        (["coco/val2017", "--data", "shapes"], "the detector has 3 classes, but the data have 8 categories"),
        (["coco/val2017", "--out", "weights.pt/x"], "cannot be written: Not a directory"),
    ],
)
def test_what_predict_cannot_use_is_named(
    arguments: list[str], message: str, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in _fails(["predict", weights, *arguments, "--device", "cpu"], capsys)
