"""A recomputed backbone: the same gradients, weights and norm statistics as without, for less memory."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from scaling_lab import Recipe, Shapes
from scaling_lab.errors import UserError
from scaling_lab.model import build
from scaling_lab.study.study import protocol_digest
from scaling_lab.training.recompute import recompute_backbone
from scaling_lab.training.sync_norm import synchronise_norms
from scaling_lab.training.train import Run
from search_spaces.compound import SMALL

SPEC = dataclasses.replace(SMALL.base, repeats=1, num_classes=8, image_size=(64, 64))
DATA = Shapes(train_images=16, val_images=2)
# Backbones of three of timm's classes for features: a dictionary of modules, EfficientNet's and MobileNet v3's own.
BACKBONES = ["resnet10t", "test_efficientnet", "mobilenetv3_small_050"]


def _run(folder: Path, backbone: str = "resnet10t", **changes: Any) -> Run:
    options = SPEC.backbone_options if backbone == SPEC.backbone else {}
    spec = dataclasses.replace(SPEC, backbone=backbone, backbone_options=options)
    recipe = Recipe.short(epochs=1, batch_size=8, **changes)
    return Run(spec, DATA, recipe, seed=0, folder=folder, device="cpu", workers=0)


def _after_two_steps(run: Run) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    run.set_stage(1)
    for batch in run.batches("train", 1):
        run.step(batch, rate=1e-2)
    gradients = {f"gradient of {name}": p.grad for name, p in run.model.named_parameters() if p.grad is not None}
    return {**run.model.state_dict(), **gradients}


def _assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_recomputed_backbone_trains_to_the_same_bits(tmp_path: Path, backbone: str) -> None:
    kept: list[int] = []
    results = []
    for recompute in (False, True):
        run = _run(tmp_path, backbone, accumulate=2, drop_path=0.2, recompute_backbone=recompute)
        sizes: list[int] = []

        def pack(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            run.model.train()(torch.zeros(2, 3, 64, 64))
        kept.append(sum(sizes))
        results.append(
            _after_two_steps(_run(tmp_path, backbone, accumulate=2, drop_path=0.2, recompute_backbone=recompute))
        )
    _assert_same(*results)
    assert kept[1] < kept[0]


def test_synchronised_norms_count_a_recomputed_batch_once(tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        results = []
        for recompute in (False, True):
            run = _run(tmp_path, recompute_backbone=recompute)
            synchronise_norms(run.model)
            results.append(_after_two_steps(run))
    finally:
        dist.destroy_process_group()
    _assert_same(*results)


def test_a_backbone_without_gradient_checkpointing_is_named() -> None:
    with torch.device("meta"):
        detector = build(dataclasses.replace(SPEC, backbone="hrnet_w18_small", backbone_options={}))
    message = "allowed with backbone 'hrnet_w18_small' is False: gradient checkpointing not supported"
    with pytest.raises(UserError, match=message):
        recompute_backbone(detector)
    detector.backbone = torch.nn.Identity()  # as timm's wrapper of vision transformers, which has no such method
    with pytest.raises(UserError, match="is False: timm has no gradient checkpointing for it"):
        recompute_backbone(detector)


@pytest.mark.parametrize("changes", [{"compile": True}, {"freeze": "backbone"}])
def test_what_does_not_go_with_it(changes: dict[str, Any]) -> None:
    with pytest.raises(
        UserError, match=r"recipe.recompute_backbone is True; allowed is False where (compile|freeze) is"
    ):
        Recipe.short(recompute_backbone=True, **changes)


def test_the_protocol_is_unchanged_without_it() -> None:
    recipe = Recipe.paper()
    assert "recompute_backbone" not in recipe.protocol()
    assert protocol_digest("data", recipe) == "60eb6b29b859"
    assert protocol_digest("data", dataclasses.replace(recipe, recompute_backbone=True)) != "60eb6b29b859"
