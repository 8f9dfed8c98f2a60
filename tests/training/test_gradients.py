"""A batch in parts: the gradient is that of the whole, and what a recipe changes about the network's run is not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from scaling_lab import Recipe, Shapes
from scaling_lab.architecture.spec import HEADS
from scaling_lab.detection import make_anchors, match
from scaling_lab.detection.anchors import feature_sizes
from scaling_lab.training.train import Run, train
from search_spaces.compound import SMALL

SPEC = dataclasses.replace(SMALL.base, repeats=1, num_classes=8, image_size=(64, 64))
DATA = Shapes(train_images=16, val_images=4)
RECIPE = Recipe.short(epochs=1, batch_size=8, iou_weight=1.0)


def _run(folder: Path, recipe: Recipe = RECIPE, head: str = "anchors") -> Run:
    spec = dataclasses.replace(SPEC, head=head)
    return Run(spec, DATA, recipe, seed=0, folder=folder, device="cpu", workers=0)


def _gradient(run: Run) -> torch.Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in run.model.parameters() if parameter.grad is not None])


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("parts", [3, *(pytest.param(each, marks=pytest.mark.slow) for each in (2, 8))])
def test_with_batch_norms_that_do_not_learn_the_parts_gradient_is_the_batchs(
    tmp_path: Path, parts: int, head: str
) -> None:
    gradients, losses = [], []
    for accumulate in (1, parts):
        run = _run(tmp_path, dataclasses.replace(RECIPE, accumulate=accumulate, clip_norm=1e9), head)
        run.model.eval()
        losses.append(run.step(next(iter(run.batches("train", 1))), rate=1e-3))
        gradients.append(_gradient(run))
    assert dataclasses.astuple(losses[1]) == pytest.approx(dataclasses.astuple(losses[0]), rel=1e-6)
    assert (gradients[1] - gradients[0]).norm() < 1e-6 * gradients[0].norm()


def test_the_parts_of_that_batch_have_unequal_numbers_of_positives(tmp_path: Path) -> None:
    """Else the test above could not tell a mean of the parts' losses from the batch's."""
    run = _run(tmp_path)
    batch = next(iter(run.batches("train", 1)))
    with torch.no_grad():
        sizes = feature_sizes(run.model.eval()(batch.images_BCHW)[1])
    anchors_A4 = make_anchors(SPEC.anchors, SPEC.topology.min_level, (64, 64), sizes, torch.device("cpu"))
    counts = match(anchors_A4, batch.boxes_BN4, batch.labels_BN).image_P.bincount(minlength=8)
    assert counts[:4].sum() != counts[4:].sum()


def test_parts_train_on_the_same_images_with_as_many_steps(tmp_path: Path) -> None:
    runs = [_run(tmp_path, dataclasses.replace(RECIPE, accumulate=accumulate)) for accumulate in (1, 4)]
    metrics = [run.train_epoch(1) for run in runs]
    assert [run.average.steps for run in runs] == [2, 2]
    assert metrics[1]["loss"] == pytest.approx(metrics[0]["loss"], rel=0.2)  # batch norms see other batches
    assert metrics[1]["loss"] != metrics[0]["loss"]


def test_the_memory_layout_changes_rounding_alone(tmp_path: Path) -> None:
    runs = [_run(tmp_path, dataclasses.replace(RECIPE, channels_last=layout)) for layout in (True, False)]
    losses = [run.step(next(iter(run.batches("train", 1))), rate=1e-3) for run in runs]
    assert losses[0].total == pytest.approx(losses[1].total, rel=1e-5)
    layouts = [
        [
            parameter.is_contiguous(memory_format=torch.channels_last)
            for parameter in run.model.parameters()
            if parameter.dim() == 4 and min(parameter.shape[1:3]) > 1
        ]
        for run in runs
    ]
    assert all(layouts[0])
    assert not any(layouts[1])


@pytest.mark.slow
def test_a_compiled_run_trains_alike_and_its_checkpoint_is_as_any(tmp_path: Path) -> None:
    results = {}
    for compiled in (False, True):
        folder = tmp_path / str(compiled)
        recipe = dataclasses.replace(RECIPE, compile=compiled, lr=1e-4)
        results[compiled] = train(SPEC, DATA, recipe, seed=0, folder=folder, report=lambda _: None)["loss"]
    assert results[True] == pytest.approx(results[False], rel=1e-4)
    names = [list(torch.load(tmp_path / str(c) / "weights.pt", weights_only=True)["state"]) for c in (False, True)]
    assert names[0] == names[1]
