"""The feature networks of the paper's Table 5 and three more, at the paper's repeats or at equal multiply-adds."""

from __future__ import annotations

import dataclasses
from typing import Any

from scaling_lab import CompoundScaling, DetectorSpec, count, efficientdet, topologies
from scaling_lab.cost.solver import solve
from search_spaces.compound import ONE_CELL

# Topology, fusion, and cells as a multiple of the base's. The repeated FPN has twice as many, since two of its cells have as
# many nodes as one of PANet's or BiFPN's. The most expensive come first, so that workers finish at similar times.
NETWORKS = {
    "quad_fpn": ("quad_fpn", "sum", 1),
    "fully_connected": ("fully_connected", "sum", 1),
    "repeated_fpn": ("fpn", "sum", 2),
    "panet": ("panet", "sum", 1),
    "bifpn": ("bifpn", "fast", 1),
    "bifpn_without_weights": ("bifpn", "sum", 1),
    "nas_fpn": ("nas_fpn", "sum", 1),
    "simplified_panet": ("simplified_panet", "sum", 1),
    "none": ("none", "sum", 1),
}

# The paper gives no configuration of Table 5; D3 with 5 cells, not 6, matches its multiply-adds (`scaling-lab reproduce costs`).
TABLE_5 = dataclasses.replace(efficientdet("d3"), repeats=5)

# For photographs and features of a frozen pretrained backbone, which a laptop computes once: one cell, 256 px.
PHOTOGRAPHS = dataclasses.replace(efficientdet("lite0"), repeats=1, image_size=(256, 256))


def space(
    trial: Any,
    base: DetectorSpec = ONE_CELL,
    names: tuple[str, ...] = tuple(NETWORKS),
    num_classes: int | None = None,
) -> DetectorSpec:
    """Return a detector by the name of its network, with the base's width.

    With `num_classes`, each network has the width at which a detector of that many classes costs as much as the base.
    """
    topology, fusion, times = NETWORKS[trial.suggest_categorical("network", list(names))]
    levels = (base.topology.min_level, base.topology.max_level)
    found = dataclasses.replace(
        base, topology=getattr(topologies, topology)(*levels, fusion=fusion), repeats=times * base.repeats
    )
    return found if num_classes is None else at_cost_of(base, found, num_classes)


def at_cost_of(base: DetectorSpec, spec: DetectorSpec, num_classes: int) -> DetectorSpec:
    """Return the detector at the width that matches the base's multiply-adds."""
    rule = CompoundScaling(base=dataclasses.replace(spec, num_classes=num_classes), width_multiple=1).only("width")
    return solve(rule, {"gmacs": count(dataclasses.replace(base, num_classes=num_classes)).gmacs}).spec
