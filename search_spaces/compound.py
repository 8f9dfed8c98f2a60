"""Compound scaling: phi, and the rate at which each dimension follows it."""

from __future__ import annotations

import dataclasses
from typing import Any

from scaling_lab import Anchors, CompoundScaling, DetectorSpec, topologies

# A detector that a laptop trains in about a minute: EfficientDet's shape at 1/33 of D0's parameters. The backbone is dense,
# since depthwise convolutions train slowly on CPUs. Its stem has three convolutions: with a patch-embedding stem, fine
# textures were learned for some seeds only (docs/log, 2026-11-24).
SMALL = CompoundScaling(
    base=DetectorSpec(
        backbone="resnet10t",
        backbone_options={"channels": [8, 16, 32, 64], "stem_width": 8, "stem_type": "deep"},
        topology=topologies.bifpn(3, 7),
        width=32,
        repeats=2,
        head_repeats=1,
        image_size=(128, 128),
        anchors=Anchors(scale=1.9),
        padding="symmetric",
        bias_before_norm=False,
    ),
    backbones=("resnet10t",),
    image_size_slope=32,
)

# The small detector with one cell instead of two. With two cells, or the repeated FPN's four, some training runs start to
# learn only after several epochs, at random (docs/log, 2026-11-28).
ONE_CELL = dataclasses.replace(SMALL.base, repeats=1)


def space(trial: Any, rule: CompoundScaling = SMALL) -> DetectorSpec:
    """Return a detector by phi, the width factor and the slope of the depth."""
    phi = trial.suggest_float("phi", 0.0, 2.0, step=0.5)
    factor = trial.suggest_float("width_factor", 1.2, 1.45, step=0.05)
    slope = trial.suggest_categorical("repeats_slope", [0.5, 1.0])
    return dataclasses.replace(rule, width_factor=factor, repeats_slope=slope).spec(phi)
