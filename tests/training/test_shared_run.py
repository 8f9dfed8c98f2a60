"""Training shared weights: it continues to the bit, trains fairly, and gives ordinary detectors."""

from __future__ import annotations

import dataclasses
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from scaling_lab import DetectorSpec, Recipe, Shapes, load_checkpoint, topologies
from scaling_lab.errors import UserError
from scaling_lab.features.build import FeatureFolder
from scaling_lab.training.evaluation import evaluate
from scaling_lab.training.fair_paths import FairList
from scaling_lab.training.recalibration import recalibrate
from scaling_lab.training.shared_run import RECALIBRATED, SharedRun, ends, read_shared, train_shared
from scaling_lab.training.train import train

DATA = Shapes(train_images=12, val_images=4)
RECIPE = Recipe.short(epochs=2, batch_size=4)
BASE = DetectorSpec(
    backbone="resnet10t", topology=topologies.bifpn(3, 5), width=16, repeats=1, head_repeats=1, image_size=(64, 64),
    num_classes=8, backbone_options={"channels": [8, 8, 16, 24]},
)  # fmt: skip
SPECS = [
    dataclasses.replace(BASE, topology=topology, width=width, repeats=repeats)
    for topology in (BASE.topology, topologies.fpn(3, 5, "sum"), topologies.none(3, 5))
    for width in (16, 8)
    for repeats in (1, 2)
]
MIDDLE = SPECS[3]


class Killed(BaseException):
    """Stands for a kill: nothing is written any more."""


def trained(folder: Path, recipe: Recipe = RECIPE, **changes: Any) -> SharedRun:
    return train_shared(SPECS, DATA, recipe, seed=3, folder=folder, between=1, **changes)


def state_of(run: SharedRun) -> dict[str, torch.Tensor]:
    return {f"{place} {name}": each for place, part in (("now", run.model), ("mean", run.average.model))
            for name, each in part.state_dict().items()}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SharedRun:
    return trained(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(("epoch", "step"), [(1, 2), (2, 1)])
def test_a_run_that_was_stopped_within_an_epoch_ends_as_one_that_was_not(
    tmp_path: Path, whole: SharedRun, epoch: int, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(seen: dict[str, float]) -> None:
        if (seen["epoch"], seen["step"]) == (epoch, step + 1):
            raise Killed

    monkeypatch.setattr("scaling_lab.training.train.SAVE_EVERY", 0.0)
    with pytest.raises(Killed):
        trained(tmp_path, progress=kill)
    torch.manual_seed(99)
    run = trained(tmp_path)
    assert run.metrics["loss"] == whole.metrics["loss"]
    assert run.metrics["ap_by_class"] == whole.metrics["ap_by_class"]
    paths = [torch.load(each.checkpoint, weights_only=True)["paths"] for each in (run, whole)]
    assert paths == [{"detector": 6}, {"detector": 6}]
    expected, found = state_of(whole), state_of(run)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    again = read_shared(tmp_path, DATA, RECIPE, seed=3)
    assert again.measure(MIDDLE) == whole.measure(MIDDLE)


def test_a_step_goes_along_the_mean_gradient_of_largest_smallest_and_one_between(tmp_path: Path) -> None:
    run = trained(tmp_path, dataclasses.replace(RECIPE, epochs=1))
    run.set_stage(1)
    batch = next(iter(run.batches("train", 1)))
    drawn = FairList(SPECS, seed=3)
    drawn.restore({"detector": 3})
    expected: Counter[str] = Counter()
    losses = []
    for spec in (SPECS[1], SPECS[6], drawn.draw()):
        run.optimizer.zero_grad()
        losses.append(run.gradients_of(spec, partial(run.model.run, spec), batch))
        expected.update({name: each.grad / 3 for name, each in run.model.named_parameters() if each.grad is not None})  # type: ignore[misc]
    run.optimizer.zero_grad()
    assert torch.allclose(run.add_gradients(batch), torch.stack(losses).mean(0))
    found = {name: each.grad for name, each in run.model.named_parameters() if each.grad is not None}
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in found)  # type: ignore[arg-type]


def test_weights_of_one_detector_alone_are_those_of_an_ordinary_training(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, clip_norm=1e6)  # the norm's rounding depends on the number of tensors
    train(BASE, DATA, recipe, seed=3, folder=tmp_path / "ordinary", report=lambda _: None)
    state = torch.load(tmp_path / "ordinary" / "checkpoint.pt", weights_only=True)
    run = train_shared([BASE], DATA, recipe, seed=3, folder=tmp_path / "shared", between=0)
    for part, store in (("model", run.model), ("average", run.average.model)):
        for name, weight in store.tensors(BASE).items():
            assert torch.equal(weight, state[part][name]), name
    assert run.metrics["loss"] == state["metrics"]["loss"]


def test_each_detector_is_drawn_equally_often() -> None:
    paths = FairList(SPECS, seed=1)
    drawn = [paths.draw() for _ in range(3 * len(SPECS))]
    assert set(Counter(drawn).values()) == {3}
    assert drawn[: len(SPECS)] != drawn[len(SPECS) : 2 * len(SPECS)]
    assert ends(SPECS) == (SPECS[1], SPECS[6])


def test_a_detector_that_is_read_is_an_ordinary_file(tmp_path: Path, whole: SharedRun) -> None:
    before = state_of(whole)
    measured = whole.measure(MIDDLE)
    whole.write(MIDDLE, tmp_path / "middle.pt")
    loaded = load_checkpoint(None, tmp_path / "middle.pt")
    assert loaded.spec == MIDDLE
    assert loaded.class_names == DATA.class_names
    own = whole.detector(MIDDLE).state_dict()
    assert all(torch.equal(own[name], each) for name, each in loaded.state_dict().items())
    assert evaluate(loaded, DATA, batch_size=RECIPE.batch_size) == measured
    after = state_of(whole)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_norms_get_the_mean_statistics_of_the_batches(whole: SharedRun) -> None:
    detector = whole.average.model.detector(MIDDLE)
    batches = [*whole.batches("train", 2)]
    seen: list[torch.Tensor] = []
    norm = detector.feature_network.cells[0].nodes[0].norm
    hook = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    backbone = {name: each.clone() for name, each in detector.backbone.state_dict().items()}
    recalibrate(detector, batches)
    hook.remove()
    assert 1 < len(seen) == len(batches) < RECALIBRATED
    means = torch.stack([each.mean((0, 2, 3)) for each in seen]).mean(0)
    variances = torch.stack([each.var((0, 2, 3)) for each in seen]).mean(0)
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, variances)
    assert norm.momentum == 0.01
    assert not detector.training
    assert all(torch.equal(each, backbone[name]) for name, each in detector.backbone.state_dict().items())


def test_stored_features_change_nothing(tmp_path: Path) -> None:
    recipe = Recipe.finetune(epochs=2, batch_size=4, views=2, eval_every=2, pretrained=False)
    runs = [
        trained(tmp_path / str(place), recipe, features=features)
        for place, features in enumerate((None, FeatureFolder(root=tmp_path / "features")))
    ]
    assert len(list((tmp_path / "features").glob("*/complete.json"))) == 2
    assert runs[0].metrics["loss"] == runs[1].metrics["loss"]
    one, other = (state_of(run) for run in runs)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_only_a_finished_run_is_read(tmp_path: Path, whole: SharedRun) -> None:
    with pytest.raises(UserError, match="has no shared weights; allowed is a folder that train_shared wrote"):
        read_shared(tmp_path, DATA, RECIPE, seed=3)
    with pytest.raises(UserError, match="holds 2 of 3 epochs; train_shared continues them"):
        read_shared(whole.folder, DATA, dataclasses.replace(RECIPE, epochs=3), seed=3)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    other = dataclasses.replace(BASE, image_size=(96, 96))
    with pytest.raises(UserError, match=r"image sizes .* allowed is one for all"):
        train_shared([BASE, other], DATA, RECIPE, seed=0, folder=tmp_path)
    with pytest.raises(UserError, match=r"recipe\.compile is True; allowed is False"):
        trained(tmp_path, dataclasses.replace(RECIPE, compile=True))
    with pytest.raises(UserError, match="between is -1"):
        train_shared(SPECS, DATA, RECIPE, seed=0, folder=tmp_path, between=-1)
    with pytest.raises(UserError, match="num_classes=3; allowed is 8"):
        train_shared([dataclasses.replace(BASE, num_classes=3)], DATA, RECIPE, seed=0, folder=tmp_path)
