"""What a recipe freezes stays bit for bit as it was; the rest learns."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from scaling_lab import Recipe, Shapes
from scaling_lab.errors import UserError
from scaling_lab.training.train import Run
from search_spaces.compound import SMALL

SPEC = dataclasses.replace(SMALL.base, repeats=1, num_classes=8, image_size=(64, 64))
DATA = Shapes(train_images=16, val_images=4)


def _run(folder: Path, freeze: str, spec: object = SPEC) -> Run:
    recipe = Recipe.short(epochs=2, batch_size=8, freeze=freeze)
    return Run(spec, DATA, recipe, seed=0, folder=folder, device="cpu", workers=0)  # type: ignore[arg-type]


def _norms(run: Run) -> set[str]:
    norms = [name for name, part in run.model.named_modules() if isinstance(part, nn.BatchNorm2d)]
    return {f"{norm}.{name}" for norm in norms for name in run.model.get_submodule(norm).state_dict()}


@pytest.mark.parametrize("freeze", ["none", "backbone", pytest.param("backbone_norms", marks=pytest.mark.slow)])
def test_frozen_parts_stay_and_the_others_learn(tmp_path: Path, freeze: str) -> None:
    run = _run(tmp_path, freeze)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    backbone = {name for name in before if name.startswith("backbone.")}
    frozen = {"none": set(), "backbone": backbone, "backbone_norms": backbone & _norms(run)}[freeze]
    assert frozen or freeze == "none"
    for _ in range(2):
        run.next_epoch()
    changed = {name for name, tensor in run.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed & backbone == backbone - frozen
    assert "class_head.predict.pointwise.weight" in changed
    averaged = run.average.model.state_dict()
    assert all(torch.equal(averaged[name], before[name]) for name in frozen)
    learning = {id(parameter) for group in run.optimizer.param_groups for parameter in group["params"]}
    names = {name for name, parameter in run.model.named_parameters() if id(parameter) in learning}
    assert names == {name for name, _ in run.model.named_parameters()} - frozen
    assert all(p.grad is None for name, p in run.model.named_parameters() if name in frozen)


def test_norms_that_a_backbone_lacks_cannot_be_frozen(tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, backbone="test_convnext", backbone_options={})
    with pytest.raises(UserError, match="allowed are none, backbone: backbone 'test_convnext' has no batch norm"):
        _run(tmp_path, "backbone_norms", spec)
