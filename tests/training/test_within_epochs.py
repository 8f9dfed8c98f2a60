"""A run that ends within an epoch, by a signal, a kill or a failed evaluation, continues there to the bit."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from scaling_lab import Coco, Recipe, Shapes
from scaling_lab.data import Source
from scaling_lab.training import train as training
from scaling_lab.training.train import train
from tests.coco_files import write_coco
from tests.training.test_group import SPEC

slow = pytest.mark.slow
DATA = Shapes(train_images=12, val_images=4)
# The drop path draws random numbers in each step.
RECIPE = Recipe.short(epochs=2, batch_size=4, drop_path=0.3)
STEPS = 3


class Killed(BaseException):
    """Stands for a kill: nothing is written any more."""


def _train(folder: Path, *, data: Source = DATA, recipe: Recipe = RECIPE, **options: Any) -> dict[str, Any]:
    spec = dataclasses.replace(SPEC, num_classes=len(data.class_names))
    return train(spec, data, recipe, seed=3, folder=folder, report=lambda metrics: None, **options)


def _state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoint.pt", weights_only=True)  # type: ignore[no-any-return]


def _assert_same(folder: Path, metrics: dict[str, Any], whole: Path, expected: dict[str, Any]) -> None:
    for name in ("loss", "class_loss", "box_loss", "lr", "ap", "ap_by_class", "skipped_images"):
        assert metrics[name] == expected[name], name
    for part in ("model", "average"):
        one, other = _state(folder)[part], _state(whole)[part]
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(_state(folder)["random"]["cpu"], _state(whole)["random"]["cpu"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run without an interruption."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, _train(folder)


@pytest.mark.parametrize(
    ("epoch", "step"), [pytest.param(1, 1, marks=slow), (2, 2), pytest.param(2, STEPS, marks=slow)]
)
def test_a_signal_within_an_epoch_loses_no_step(
    tmp_path: Path, whole: tuple[Path, dict[str, Any]], epoch: int, step: int
) -> None:
    def ask(seen: dict[str, float]) -> None:
        if (seen["epoch"], seen["step"]) == (epoch, step):
            signal.raise_signal(signal.SIGTERM)

    said: list[str] = []
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path, progress=ask, say=said.append)
    assert signal.getsignal(signal.SIGTERM) == before
    assert said == ["stopping …"]
    state = _state(tmp_path)
    assert (state["epoch"], state["so_far"]["epoch"], state["so_far"]["steps"]) == (epoch - 1, epoch, step)
    torch.manual_seed(99)
    again: list[tuple[float, float]] = []
    metrics = _train(tmp_path, progress=lambda seen: again.append((seen["epoch"], seen["step"])))
    assert again == [(e, s) for e in (1, 2) for s in range(1, STEPS + 1) if (e, s) > (epoch, step)]
    _assert_same(tmp_path, metrics, *whole)


def test_a_kill_loses_what_came_after_the_last_checkpoint_within_the_epoch(
    tmp_path: Path, whole: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(seen: dict[str, float]) -> None:
        if (seen["epoch"], seen["step"]) == (2, STEPS):
            raise Killed

    monkeypatch.setattr(training, "SAVE_EVERY", 0.0)
    with pytest.raises(Killed):
        _train(tmp_path, progress=kill)
    assert _state(tmp_path)["so_far"]["steps"] == STEPS - 1
    _assert_same(tmp_path, _train(tmp_path), *whole)


def test_an_evaluation_that_fails_costs_no_step(
    tmp_path: Path, whole: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(training, "predict", fail)
        with pytest.raises(Killed):
            _train(tmp_path)
    assert (_state(tmp_path)["epoch"], _state(tmp_path)["so_far"]["steps"]) == (0, STEPS)
    steps: list[float] = []
    metrics = _train(tmp_path, progress=lambda seen: steps.append(seen["epoch"]))
    assert steps == [2] * STEPS
    _assert_same(tmp_path, metrics, *whole)


@pytest.mark.parametrize("workers", [pytest.param(0, marks=slow), 1])
def test_files_are_read_from_there_and_skipped_ones_are_counted_once(tmp_path: Path, workers: int) -> None:
    write_coco(tmp_path / "coco", train=8, val=2)
    for path in sorted((tmp_path / "coco" / "train2017").iterdir())[::4]:
        path.write_bytes(b"broken")
    data = Coco(folder=str(tmp_path / "coco"), skip_broken=True)
    settings: dict[str, Any] = {
        "data": data,
        "recipe": dataclasses.replace(RECIPE, epochs=1, batch_size=2),
        "workers": workers,
    }
    expected = _train(tmp_path / "whole", **settings)
    assert expected["skipped_images"] == 2

    def ask(seen: dict[str, float]) -> None:
        if seen["step"] == 3:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path / "stopped", progress=ask, **settings)
    _assert_same(tmp_path / "stopped", _train(tmp_path / "stopped", **settings), tmp_path / "whole", expected)
