"""How a run fails: where the loss stopped being a number, and what did not fit into memory."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from scaling_lab import Coco, Recipe, Shapes
from scaling_lab.errors import UserError
from scaling_lab.model import build
from scaling_lab.training import train as loop
from scaling_lab.training.failures import Diverged, OutOfMemory
from scaling_lab.training.train import Run, train
from search_spaces.compound import SMALL
from tests.coco_files import write_coco

SPEC = dataclasses.replace(SMALL.base, repeats=1, num_classes=8, image_size=(64, 64))
DATA = Shapes(train_images=16, val_images=8)
RECIPE = Recipe.short(epochs=2, batch_size=8)


def _nothing(_: dict[str, Any]) -> None:
    return None


def _run(folder: Path, recipe: Recipe = RECIPE, data: Shapes | Coco = DATA) -> Run:
    spec = dataclasses.replace(SPEC, num_classes=len(data.class_names))
    return Run(spec, data, recipe, seed=0, folder=folder, device="cpu", workers=0)


def _break_at(run: Run, call: int) -> None:
    """Let the box head's output be no number at a call of the network, counted from 1."""
    calls = 0

    def spoil(module: nn.Module, inputs: Any, outputs: list[torch.Tensor]) -> list[torch.Tensor]:
        nonlocal calls
        calls += 1
        return [output * math.nan for output in outputs] if calls == call else outputs

    run.model.box_head.register_forward_hook(spoil)


def _copied(run: Run) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in run.model.parameters()]


def _is_unchanged(run: Run, before: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(before, run.model.parameters(), strict=True))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_loss_that_is_not_finite_names_step_terms_and_indices(tmp_path: Path, accumulate: int) -> None:
    run = _run(tmp_path, dataclasses.replace(RECIPE, accumulate=accumulate))
    _break_at(run, 2 * accumulate)
    indices = ", ".join(map(str, run.batches("train", 1).indices()[1]))
    terms = r"total nan, classes \d+\.\d+, boxes nan"
    with pytest.raises(Diverged, match=rf"^the loss is not finite at epoch 1, step 2: {terms}; images {indices}$"):
        run.train_epoch(1)


def test_a_loss_that_is_not_finite_names_the_files(tmp_path: Path) -> None:
    data = write_coco(tmp_path / "coco", train=8, val=2)
    run = _run(tmp_path / "run", dataclasses.replace(RECIPE, batch_size=2), data)
    _break_at(run, 3)
    first, second = (f"{index:012d}.jpg" for index in run.batches("train", 1).indices()[2])
    with pytest.raises(Diverged, match=rf"epoch 1, step 3: .*; images {first}, {second}$"):
        run.train_epoch(1)


def test_the_weights_are_those_before_the_loss_that_is_not_finite(tmp_path: Path) -> None:
    run = _run(tmp_path)
    before = _copied(run)
    _break_at(run, 1)
    with pytest.raises(Diverged):
        run.train_epoch(1)
    assert _is_unchanged(run, before)


def test_a_gradient_that_is_not_finite_ends_the_run_before_the_weights_are_spoilt(tmp_path: Path) -> None:
    run = _run(tmp_path)
    before = _copied(run)
    next(run.model.backbone.parameters()).register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(
        Diverged, match=r"^the gradient is not finite at epoch 1, step 1: norm (nan|inf), loss total \d"
    ):
        run.train_epoch(1)
    assert _is_unchanged(run, before)


def test_in_fp16_a_step_may_overflow_while_the_scalers_factor_is_above_1(tmp_path: Path) -> None:
    run = _run(tmp_path, dataclasses.replace(RECIPE, precision="fp16"))
    before = _copied(run)
    next(run.model.backbone.parameters()).register_hook(lambda gradient: gradient * math.inf)
    batch = next(iter(run.batches("train", 1)))
    run.step(batch, rate=1e-3)
    assert run.scaler.get_scale() == 2.0**15
    assert _is_unchanged(run, before)
    run.scaler.update(1.0)
    with pytest.raises(ArithmeticError, match="the gradient is not finite"):
        run.step(batch, rate=1e-3)


class _Memory:
    """Room for `images` at once in the network, as if on a device that is too small; after `after` calls only.

    No such device is at hand: what torch raises there is raised here, at the same place, by a hook on the detector.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, images: int, after: int = 0) -> None:
        self.images, self.after = images, after
        monkeypatch.setattr(loop, "build", self._build)

    def _build(self, *values: Any, **options: Any) -> nn.Module:
        detector = build(*values, **options)
        detector.register_forward_pre_hook(self._check)
        return detector

    def _check(self, module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        self.after -= 1
        if self.after < 0 and len(inputs[0]) > self.images:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")

    def __deepcopy__(self, memo: Any) -> _Memory:
        return self


def _equal_weights(one: Path, other: Path) -> bool:
    states = [torch.load(folder / "weights.pt", weights_only=True)["state"] for folder in (one, other)]
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_too_little_memory_names_the_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _Memory(monkeypatch, images=4)
    message = (
        r"^cpu has too little memory for 8 images of 64x64 px at once: CUDA out of memory. Tried to allocate 2 GiB.; "
        r"recipe.halve_batch=True would continue with half as many$"
    )
    with pytest.raises(OutOfMemory, match=message):
        train(SPEC, DATA, RECIPE, seed=0, folder=tmp_path, report=_nothing)


@pytest.mark.parametrize(
    ("width", "images"), [pytest.param(160, 1, marks=pytest.mark.slow), (64, 2)]
)  # at 64 px P7 is one position: norms need two images
def test_too_little_memory_for_the_fewest_images_ends_the_run(
    width: int, images: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _Memory(monkeypatch, images=0)
    recipe, spec = dataclasses.replace(RECIPE, halve_batch=True), dataclasses.replace(SPEC, image_size=(64, width))
    message = rf"^cpu has too little memory for {images} images of 64x{width} px at once: CUDA out of mem"
    with pytest.raises(OutOfMemory, match=message):
        train(spec, DATA, recipe, seed=0, folder=tmp_path, report=_nothing)


@pytest.mark.slow
def test_half_the_batch_is_as_if_the_recipe_had_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=1, halve_batch=True)
    said = dataclasses.replace(recipe, accumulate=4)
    expected = train(SPEC, DATA, said, seed=0, folder=tmp_path / "said", report=_nothing)
    _Memory(monkeypatch, images=3)  # in the evaluation too
    reports: list[dict[str, Any]] = []
    metrics = train(SPEC, DATA, recipe, seed=0, folder=tmp_path / "halved", report=reports.append)
    assert [(report["epoch"], report["accumulate"], report["too_large"]) for report in reports] == [(1, 4, [8, 4])]
    assert metrics["loss"] == expected["loss"]
    assert metrics["ap_by_class"] == expected["ap_by_class"]
    assert (expected["accumulate"], "too_large" in expected) == (4, False)
    assert _equal_weights(tmp_path / "said", tmp_path / "halved")


def test_half_the_batch_goes_on_from_the_last_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=3, eval_every=2, halve_batch=True)

    def stop_after(epoch: int) -> Any:
        def stop(metrics: dict[str, Any]) -> None:
            if metrics["epoch"] == epoch:
                raise KeyboardInterrupt

        return stop

    said, halved = tmp_path / "said", tmp_path / "halved"
    with pytest.raises(KeyboardInterrupt):
        train(SPEC, DATA, recipe, seed=0, folder=said, report=stop_after(1))
    train(SPEC, DATA, dataclasses.replace(recipe, accumulate=2), seed=0, folder=said, report=_nothing)
    with monkeypatch.context() as patch:
        # An epoch is two steps: memory ends in the second step of the second.
        _Memory(patch, images=4, after=3)
        with pytest.raises(KeyboardInterrupt):
            train(SPEC, DATA, recipe, seed=0, folder=halved, report=stop_after(2))
    metrics = train(SPEC, DATA, recipe, seed=0, folder=halved, report=_nothing)
    assert (metrics["accumulate"], metrics["too_large"]) == (2, [8])  # remembered by the checkpoint
    assert _equal_weights(said, halved)


@pytest.mark.parametrize("changes", [{"batch_size": 1}, {"batch_size": 2, "accumulate": 2}])
def test_a_single_value_is_no_batch_for_a_norm(changes: dict[str, int], tmp_path: Path) -> None:
    recipe = Recipe.short(epochs=1, **changes)
    with pytest.raises(
        UserError, match=r"batch_size \d with accumulate \d gives parts of one image; at 64x64 px its P7"
    ):
        train(SPEC, DATA, recipe, seed=0, folder=tmp_path, report=_nothing)
    larger = dataclasses.replace(SPEC, image_size=(64, 160))
    run = Run(larger, DATA, recipe, seed=0, folder=tmp_path, device="cpu", workers=0)
    assert math.isfinite(run.step(next(iter(run.batches("train", 1))), rate=1e-3).total)
