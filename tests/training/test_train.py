"""The loop: it learns, continues bit for bit, repeats itself, and says why it fails."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scaling_lab import Coco, Recipe, Shapes
from scaling_lab.errors import UserError
from scaling_lab.model.checkpoints import load_checkpoint
from scaling_lab.training.evaluation import SUMMARY, average_precision
from scaling_lab.training.optimization import AveragedWeights, learning_rate, make_optimizer
from scaling_lab.training.train import train
from search_spaces.compound import SMALL
from tests.coco_files import write_coco

SPEC = dataclasses.replace(SMALL.base, repeats=1, num_classes=8, image_size=(64, 64))
DATA = Shapes(train_images=24, val_images=8)
RECIPE = Recipe.short(epochs=3, batch_size=8)


def _nothing(_: dict[str, Any]) -> None:
    return None


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "weights.pt", weights_only=True)["state"]
    return state


def test_a_run_that_was_stopped_at_any_epoch_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = train(SPEC, DATA, RECIPE, seed=3, folder=tmp_path / "whole", report=_nothing)
    for stop_after in (1, 2):
        seen: list[int] = []

        def stop(metrics: dict[str, Any], seen: list[int] = seen, stop_after: int = stop_after) -> None:
            seen.append(metrics["epoch"])
            if metrics["epoch"] == stop_after:
                raise KeyboardInterrupt

        folder = tmp_path / f"stopped{stop_after}"
        with pytest.raises(KeyboardInterrupt):
            train(SPEC, DATA, RECIPE, seed=3, folder=folder, report=stop)
        torch.manual_seed(99)  # what ran in between does not matter
        resumed = train(SPEC, DATA, RECIPE, seed=3, folder=folder, report=lambda m, seen=seen: seen.append(m["epoch"]))
        assert seen == [*range(1, stop_after + 1), *range(stop_after, 4)]
        assert resumed["ap_by_class"] == whole["ap_by_class"]
        assert resumed["loss"] == whole["loss"]
        one, other = _weights(tmp_path / "whole"), _weights(folder)
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_of_points_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, head="points")

    def stop(metrics: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    whole = train(spec, DATA, RECIPE, seed=3, folder=tmp_path / "whole", report=_nothing)
    with pytest.raises(KeyboardInterrupt):
        train(spec, DATA, RECIPE, seed=3, folder=tmp_path / "stopped", report=stop)
    resumed = train(spec, DATA, RECIPE, seed=3, folder=tmp_path / "stopped", report=_nothing)
    assert (resumed["loss"], resumed["ap_by_class"]) == (whole["loss"], whole["ap_by_class"])


@pytest.mark.slow
def test_a_head_of_points_finds_objects_after_a_minute(tmp_path: Path) -> None:
    """An untrained detector has an AP50 of .1; this one had 75."""
    spec = dataclasses.replace(SMALL.base, repeats=1, num_classes=8, head="points")
    data, recipe = Shapes(train_images=1024, val_images=128), Recipe.short(epochs=3)
    assert train(spec, data, recipe, seed=3, folder=tmp_path, report=_nothing)["ap50"] > 30


def test_the_same_seed_repeats_itself_and_another_does_not(tmp_path: Path) -> None:
    losses = [
        train(SPEC, DATA, dataclasses.replace(RECIPE, epochs=1), seed=seed, folder=tmp_path / str(i), report=_nothing)[
            "loss"
        ]
        for i, seed in enumerate([5, 5, 6])
    ]
    assert losses[0] == losses[1] != losses[2]


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=1)
    first = train(SPEC, DATA, recipe, seed=0, folder=tmp_path, report=_nothing)
    reports: list[Any] = []
    assert train(SPEC, DATA, recipe, seed=0, folder=tmp_path, report=reports.append) == first
    assert reports == [first]


def _accuracies(monkeypatch: pytest.MonkeyPatch, *aps: float | None) -> None:
    """Let the evaluations of the epochs give these APs."""
    left = iter(aps)
    monkeypatch.setattr("scaling_lab.training.train.average_precision", lambda *_: {"ap": next(left)})


def test_the_best_epochs_weights_stay_beside_the_last_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _accuracies(monkeypatch, None, 5.0, 7.0, 7.0, 6.0)
    averaged: dict[int, dict[str, torch.Tensor]] = {}
    seen: list[tuple[float | None, int | None]] = []

    def keep(metrics: dict[str, Any]) -> None:
        state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        averaged[metrics["epoch"]] = state["average"]
        seen.append((metrics.get("best_ap"), metrics.get("best_epoch")))
        assert (tmp_path / "best.pt").exists() == (metrics["epoch"] > 1)
        assert "gpu_memory_mb" not in metrics  # only GPUs have it

    train(SPEC, DATA, dataclasses.replace(RECIPE, epochs=5), seed=0, folder=tmp_path, report=keep)
    assert seen == [(None, None), (5.0, 2), (7.0, 3), (7.0, 3), (7.0, 3)]  # of equals the first
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    assert (best["epoch"], best["ap"]) == (3, 7.0)
    assert all(torch.equal(best["state"][name], averaged[3][name]) for name in averaged[3])
    assert not torch.equal(
        _weights(tmp_path)["class_head.predict.pointwise.bias"], best["state"]["class_head.predict.pointwise.bias"]
    )
    assert load_checkpoint(None, tmp_path / "best.pt").class_names == DATA.class_names


@pytest.mark.parametrize(("stop_after", "is_lost"), [(1, False), (2, False), (2, True), (3, False)])
def test_a_continued_run_keeps_its_best_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int, is_lost: bool
) -> None:
    """`is_lost`: the run was killed between the checkpoint of its best epoch and best.pt."""

    def stop(metrics: dict[str, Any]) -> None:
        if metrics["epoch"] == stop_after:
            raise KeyboardInterrupt

    _accuracies(monkeypatch, 5.0, 7.0, 6.0, 6.5)
    recipe = dataclasses.replace(RECIPE, epochs=4)
    with pytest.raises(KeyboardInterrupt):
        train(SPEC, DATA, recipe, seed=0, folder=tmp_path, report=stop)
    if is_lost:
        (tmp_path / "best.pt").unlink()
    metrics = train(SPEC, DATA, recipe, seed=0, folder=tmp_path, report=_nothing)
    assert (metrics["best_ap"], metrics["best_epoch"]) == (7.0, 2)
    assert torch.load(tmp_path / "best.pt", weights_only=True)["epoch"] == 2


def test_a_checkpoint_without_a_best_epoch_starts_it_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _accuracies(monkeypatch, 7.0, 5.0, 6.0)

    def stop(metrics: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(SPEC, DATA, RECIPE, seed=0, folder=tmp_path, report=stop)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    del state["best"]
    torch.save(state, tmp_path / "checkpoint.pt")
    metrics = train(SPEC, DATA, RECIPE, seed=0, folder=tmp_path, report=_nothing)
    assert (metrics["best_ap"], metrics["best_epoch"]) == (6.0, 3)


def test_without_an_ap_there_is_no_best_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _accuracies(monkeypatch, None, None)
    metrics = train(SPEC, DATA, dataclasses.replace(RECIPE, epochs=2), seed=0, folder=tmp_path, report=_nothing)
    assert "best_ap" not in metrics
    assert not (tmp_path / "best.pt").exists()


@pytest.mark.slow
def test_training_finds_objects_that_an_untrained_network_does_not(tmp_path: Path) -> None:
    data = Shapes(train_images=64, val_images=8)
    spec = dataclasses.replace(SPEC, image_size=(96, 96))
    recipe = Recipe.short(epochs=16, batch_size=8, eval_every=16, warmup_epochs=2.0)
    losses: list[float] = []
    metrics = train(spec, data, recipe, seed=0, folder=tmp_path, report=lambda m: losses.append(m["loss"]))
    assert losses[-1] < 0.4 * losses[0]
    assert metrics["ap50"] > 5.0  # 24 with one thread, 31 with two; so few images teach where things are, not what
    samples = json.loads((tmp_path / "detections.json").read_text())
    assert len(samples) == 8
    assert all(len(sample["detections"]) == 100 for sample in samples)


@pytest.mark.parametrize("optimizer", ["sgd", pytest.param("adamw", marks=pytest.mark.slow)])
def test_a_coco_folder_is_trained_on_with_augmentation_and_workers(tmp_path: Path, optimizer: str) -> None:
    data: Coco = write_coco(tmp_path / "coco", train=8, val=4)
    spec = dataclasses.replace(SPEC, num_classes=len(data.class_names))
    recipe = Recipe.paper(
        epochs=1, batch_size=4, precision="float32", optimizer=optimizer, lr=1e-3, eval_every=1, drop_path=0.1
    )
    spec = dataclasses.replace(spec, backbone="tf_efficientnet_b0", backbone_options={})
    metrics = train(spec, data, recipe, seed=0, folder=tmp_path / "run", report=_nothing, workers=1)
    assert 0 <= metrics["ap"] <= 100
    assert set(metrics["ap_by_class"]) == set(data.class_names)


def test_the_learning_rate_warms_up_and_ends_at_zero() -> None:
    recipe = Recipe(epochs=10, batch_size=1, lr=1.0, warmup_epochs=2)
    rates = [learning_rate(recipe, step, 10) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 21)
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 20
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[60] == pytest.approx(0.5)
    assert rates[-1] < 1e-3


def test_weight_decay_falls_on_kernels_alone() -> None:
    detector = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    groups = make_optimizer(detector, Recipe.paper()).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(1, 4e-5), (3, 0.0)]


def test_both_betas_of_adamw_are_the_recipes() -> None:
    optimizer = make_optimizer(torch.nn.Conv2d(3, 4, 3), Recipe.short(momentum=0.8, beta2=0.95))
    assert [group["betas"] for group in optimizer.param_groups] == [(0.8, 0.95)] * 2


def test_the_averaged_weights_follow_with_a_decay_that_grows() -> None:
    model = torch.nn.Conv2d(1, 1, 1, bias=False)
    model.weight.data.fill_(0.0)
    average = AveragedWeights(model, decay=0.5)
    model.weight.data.fill_(1.0)
    expected, steps = 0.0, [2 / 11, 3 / 12, 4 / 13, 0.5 * 0 + 5 / 14, 0.4, 7 / 16, 8 / 17, 0.5, 0.5]
    for decay in steps:
        average.update()
        expected = decay * expected + (1 - decay)
        assert float(average.model.weight) == pytest.approx(expected, rel=1e-5)


def test_the_evaluator_gives_pycocotools_numbers(tmp_path: Path) -> None:
    """The twelve numbers of the reference implementation, on boxes with errors, misses, crowds and wrong classes."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    data = write_coco(tmp_path / "coco", train=8, val=12)
    truth = data.ground_truth("val")
    chance = np.random.default_rng(0)
    rows = []
    for annotation in truth["annotations"]:
        for _ in range(chance.integers(0, 4)):
            box = np.array(annotation["bbox"]) * chance.normal(1.0, 0.08, 4)
            category = annotation["category_id"] if chance.random() < 0.8 else chance.choice(data.category_ids)
            rows.append([annotation["image_id"], *box, chance.random(), category])
    detections = np.array(rows)
    ours = average_precision(truth, detections)
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth))
    reference = COCOeval(COCO(str(path)), COCO(str(path)).loadRes(detections), "bbox")
    reference.evaluate()
    reference.accumulate()
    reference.summarize()
    for name, value in zip(SUMMARY, reference.stats, strict=True):
        assert (-1 if ours[name] is None else ours[name] / 100) == pytest.approx(value, abs=1e-6), name


def test_no_detections_at_all_is_an_ap_of_zero() -> None:
    assert average_precision(DATA.ground_truth("val"), np.zeros((0, 7)))["ap"] == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "recipe.epochs is 0; allowed are whole numbers from 1"),
        ({"epochs": "3"}, "recipe.epochs is '3'; allowed are whole numbers from 1"),
        ({"epochs": 1.5}, "recipe.epochs is 1.5; allowed are whole numbers from 1"),
        ({"batch_size": True}, "recipe.batch_size is True; allowed are whole numbers from 1"),
        ({"lr": 0.0}, "recipe.lr is 0.0; allowed are finite numbers above 0"),
        ({"lr": "fast"}, "recipe.lr is 'fast'; allowed are finite numbers above 0"),
        ({"lr": float("nan")}, "recipe.lr is nan; allowed are finite numbers above 0"),
        ({"lr": float("inf")}, "recipe.lr is inf; allowed are finite numbers above 0"),
        ({"ema_decay": 1.0}, "recipe.ema_decay is 1.0; allowed are finite numbers from 0 to below 1"),
        ({"momentum": None}, "recipe.momentum is None; allowed are finite numbers from 0 to below 1"),
        ({"beta2": 1}, "recipe.beta2 is 1; allowed are finite numbers from 0 to below 1"),
        ({"drop_path": 1.0}, "recipe.drop_path is 1.0; allowed are finite numbers from 0 to below 1"),
        ({"focal_alpha": 1.5}, "recipe.focal_alpha is 1.5; allowed are finite numbers from 0 to 1"),
        ({"match_threshold": -0.1}, "recipe.match_threshold is -0.1; allowed are finite numbers from 0 to 1"),
        ({"flip": "no"}, "recipe.flip is 'no'; allowed are True and False"),
        ({"pretrained": 1}, "recipe.pretrained is 1; allowed are True, False and a file path as text"),
        ({"jitter": 1.0}, r"recipe.jitter is 1.0; allowed is \(low, high\)"),
        ({"jitter": ("a", "b")}, r"recipe.jitter is \('a', 'b'\); allowed is \(low, high\)"),
        ({"epoch": 3}, r"Recipe has no field 'epoch' \(did you mean 'epochs'\?\); allowed are epochs, batch_size"),
        ({"freeze": "all"}, "recipe.freeze is 'all'; allowed are none, backbone, backbone_norms"),
        ({"accumulate": 0}, "recipe.accumulate is 0; allowed are whole numbers from 1"),
        ({"accumulate": 17}, "recipe.accumulate is 17; allowed are whole numbers from 1 to batch_size, which is 16"),
        ({"halve_batch": 1}, "recipe.halve_batch is 1; allowed are True and False"),
        ({"sync_norm": "yes"}, "recipe.sync_norm is 'yes'; allowed are True and False"),
        ({"compile": None}, "recipe.compile is None; allowed are True and False"),
        ({"channels_last": 0}, "recipe.channels_last is 0; allowed are True and False"),
        ({"optimizer": "adam"}, "recipe.optimizer is 'adam'; allowed are sgd, adamw"),
        ({"precision": "half"}, "recipe.precision is 'half'; allowed are float32, bf16, fp16"),
        ({"jitter": (2.0, 1.0)}, r"recipe.jitter is \(2.0, 1.0\)"),
        ({"weight_decay": -1.0}, "recipe.weight_decay is -1.0; allowed are finite numbers from 0"),
    ],
)
def test_a_wrong_recipe_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Recipe.short(**changes)


def test_recipes_round_trip_and_the_papers_holds_the_papers_numbers() -> None:
    for recipe in (Recipe.paper(), Recipe.short(epochs=9)):
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    with pytest.raises(UserError, match="Recipe has no field 'epoch'"):
        Recipe.from_dict({"epoch": 3})
    paper = Recipe.paper()  # arXiv:1911.09070v7, section 5.1
    assert (paper.epochs, paper.batch_size, paper.lr, paper.optimizer, paper.momentum) == (300, 128, 0.16, "sgd", 0.9)
    assert (paper.weight_decay, paper.ema_decay, paper.focal_alpha, paper.focal_gamma) == (4e-5, 0.9998, 0.25, 1.5)
    assert paper.jitter == (0.1, 2.0)
