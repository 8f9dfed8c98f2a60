"""The sizes that are told before a training, against the files of a real one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from scaling_lab import DetectorSpec, Recipe, Shapes, efficientdet, topologies
from scaling_lab.training.sizes import file_sizes
from scaling_lab.training.train import train

SMALL = DetectorSpec(
    backbone="mobilenetv3_small_050",
    topology=topologies.bifpn(3, 7),
    width=16,
    repeats=2,
    head_repeats=1,
    image_size=64,
)
D0 = dataclasses.replace(efficientdet("d0"), image_size=(64, 64))


@pytest.mark.parametrize(
    ("spec", "changes"),
    [
        (SMALL, {}),
        pytest.param(SMALL, {"optimizer": "sgd"}, marks=pytest.mark.slow),
        pytest.param(SMALL, {"optimizer": "sgd", "momentum": 0.0}, marks=pytest.mark.slow),
        (SMALL, {"freeze": "backbone"}),
        pytest.param(D0, {"freeze": "backbone_norms"}, marks=pytest.mark.slow),
    ],
)
def test_sizes_are_those_of_a_real_run(tmp_path: Path, spec: DetectorSpec, changes: dict[str, Any]) -> None:
    data, spec = Shapes(train_images=4, val_images=2), dataclasses.replace(spec, num_classes=8)
    recipe = Recipe.short(epochs=1, batch_size=4, **changes)
    train(spec, data, recipe, seed=0, folder=tmp_path, report=lambda metrics: None)
    told = file_sizes(spec, recipe)
    assert told.checkpoint == pytest.approx((tmp_path / "checkpoint.pt").stat().st_size, rel=0.01)
    for name in ("weights.pt", "best.pt"):
        assert told.weights == pytest.approx((tmp_path / name).stat().st_size, rel=0.02)
    assert told.trial == pytest.approx(sum(path.stat().st_size for path in tmp_path.iterdir()), rel=0.02)
