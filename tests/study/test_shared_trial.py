"""A study with shared weights: trained once, then read by trials, and continued where it was stopped."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
import torch

from scaling_lab import (
    DetectorSpec,
    Finalists,
    Halving,
    Recipe,
    Runs,
    Shapes,
    SharedWeights,
    Study,
    run_study,
    topologies,
)
from scaling_lab.errors import UserError
from scaling_lab.report.page_of_run import run_page
from scaling_lab.study.plan.planner import make_plan
from scaling_lab.study.run import shared_trial
from scaling_lab.study.study import protocol_digest
from scaling_lab.training.failures import Diverged
from scaling_lab.training.shared_run import read_shared

TOPOLOGIES = {"fpn": topologies.fpn(3, 5, "sum"), "bifpn": topologies.bifpn(3, 5)}


def space(trial: Any) -> DetectorSpec:
    return DetectorSpec(
        backbone="resnet10t", topology=TOPOLOGIES[trial.suggest_categorical("network", ["fpn", "bifpn"])],
        width=trial.suggest_categorical("width", [8, 16]), repeats=1, head_repeats=1, image_size=(64, 64),
        backbone_options={"channels": [8, 8, 16, 24]},
    )  # fmt: skip


STUDY = Study(
    question="Which is best?", space=space, data=Shapes(train_images=8, val_images=4), sampler="grid", seeds=(5,),
    recipe=Recipe.finetune(epochs=2, batch_size=4, views=1, eval_every=1, pretrained=False), shared=SharedWeights(between=1),
)  # fmt: skip


def _width(spec: DetectorSpec, *_: Any) -> dict[str, Any]:
    return {"ap": float(spec.width)}


def run(folder: Path, study: Study = STUDY, **options: Any) -> str:
    said = io.StringIO()
    run_study(study, out=folder, executor="local", stream=said, **options)
    return said.getvalue()


def test_trials_read_the_shared_weights_and_a_stopped_run_continues(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            if "epoch 1 of 2" in text:
                raise KeyboardInterrupt
            return len(text)

    with pytest.raises(KeyboardInterrupt):
        run_study(STUDY, out=folder, executor="local", stream=Stream())
    assert Runs(folder).table()["state"].tolist() == ["planned"] * 4
    said = run(folder)
    assert "shared weights: epoch 1 of 2, loss" in said  # repeated, as its report was not recorded
    assert "shared weights: epoch 2 of 2, loss" in said
    assert "all 4 trials are done" in said
    table = Runs(folder).table()
    recipe = STUDY.recipe
    shared = read_shared(folder / "shared", STUDY.data, recipe, seed=5)
    specs = Runs(folder).specs()
    for digest, ap50 in zip(table["architecture"], table["ap50"], strict=True):
        assert shared.measure(specs[digest])["ap50"] == ap50
    assert set(table["protocol"]) == {protocol_digest(STUDY.data.digest(), recipe, STUDY.shared)}
    assert protocol_digest(STUDY.data.digest(), recipe) not in set(table["protocol"])
    whole = tmp_path / "whole"
    run(whole)
    assert Runs(whole).table()["ap50"].tolist() == table["ap50"].tolist()
    states = [torch.load(each / "shared" / "weights.pt", weights_only=True)["state"] for each in (folder, whole)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    with pytest.raises(UserError, match=r"another protocol: shared\.between was 1 and is 2"):
        run(folder, dataclasses.replace(STUDY, shared=SharedWeights(between=2)))


def test_a_report_says_that_the_aps_are_read_from_shared_weights(tmp_path: Path) -> None:
    run(tmp_path / "shared", objective=_width)
    page = run_page(Runs(tmp_path / "shared"), ["limits"])
    assert str(page.answer).endswith("APs are read from shared weights.")
    (bullets,) = page.sections[0].blocks
    assert bullets.items[0][0] == "Shared weights."  # type: ignore[union-attr]
    run(tmp_path / "alone", dataclasses.replace(STUDY, shared=None), objective=_width)
    page = run_page(Runs(tmp_path / "alone"), ["limits"])
    assert "shared weights" not in str(page.answer)


def test_a_training_that_fails_ends_the_run_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise Diverged("the loss is not finite at epoch 1")

    monkeypatch.setattr("scaling_lab.training.shared_run.train_shared", fail)
    with pytest.raises(UserError, match="shared weights cannot be trained: the loss is not finite at epoch 1"):
        run(tmp_path)


def test_points_are_all_of_a_space_or_random_ones() -> None:
    assert len(shared_trial._points(space, 4, 0)) == 4
    assert len(shared_trial._points(space, 3, 0)) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": (0, 1)}, "allowed is one seed with shared weights"),
        ({"finalists": Finalists(count=1, seeds=(9,))}, "allowed is None with shared weights"),
        ({"stopping": Halving(min_epochs=1)}, "allowed is None with shared weights"),
        ({"shared": True}, "shared is True; allowed are None and SharedWeights"),
    ],
)
def test_what_does_not_go_with_shared_weights_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(STUDY, **changes)


def test_a_plan_a_tracker_and_a_storage_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be planned yet"):
        make_plan(STUDY, out=tmp_path)
    with pytest.raises(UserError, match="storage is 'file:/x'; allowed is none"):
        run(tmp_path, storage="file:/x")
    with pytest.raises(UserError, match="between is -1"):
        SharedWeights(between=-1)
