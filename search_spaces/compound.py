"""Compound scaling: phi, and how steeply each dimension follows it."""

from __future__ import annotations

import dataclasses
from typing import Any

from scaling_lab import Anchors, CompoundScaling, DetectorSpec, topologies

# A detector that a laptop trains in about a minute: EfficientDet's shape at a 20th of D0's parameters.
SMALL = CompoundScaling(
    base=DetectorSpec(
        backbone="fasternet_t0",
        backbone_options={"embed_dim": 16, "depths": [1, 1, 1, 1]},
        topology=topologies.bifpn(3, 7),
        width=32,
        repeats=2,
        head_repeats=1,
        image_size=(128, 128),
        anchors=Anchors(scale=1.9),
        padding="symmetric",
        bias_before_norm=False,
    ),
    backbones=("fasternet_t0",),
    image_size_slope=32,
)


def space(trial: Any, rule: CompoundScaling = SMALL) -> DetectorSpec:
    """Choose phi, the width factor and the slope of the depth."""
    phi = trial.suggest_float("phi", 0.0, 2.0, step=0.5)
    factor = trial.suggest_float("width_factor", 1.2, 1.45, step=0.05)
    slope = trial.suggest_categorical("repeats_slope", [0.5, 1.0])
    return dataclasses.replace(rule, width_factor=factor, repeats_slope=slope).spec(phi)
