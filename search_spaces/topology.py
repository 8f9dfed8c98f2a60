"""The published topologies with their fusion and repeats; all else as in a base detector."""

from __future__ import annotations

import dataclasses
from typing import Any

from scaling_lab import DetectorSpec, topologies
from search_spaces.compound import SMALL

NAMES = ["none", "fpn", "simplified_panet", "panet", "bifpn", "nas_fpn", "fully_connected", "quad_fpn"]


def space(
    trial: Any,
    base: DetectorSpec = SMALL.base,
    names: tuple[str, ...] = tuple(NAMES),
    fusions: tuple[str, ...] = ("sum", "fast", "softmax"),
    repeats: tuple[int, ...] = (1, 2, 3),
) -> DetectorSpec:
    """Return a detector by its topology, fusion (where it applies) and repeats."""
    name = trial.suggest_categorical("topology", list(names))
    fusion = "sum"
    if name not in ("none", "nas_fpn"):
        fusion = trial.suggest_categorical("fusion", list(fusions))
    times = trial.suggest_categorical("repeats", list(repeats))
    levels = (base.topology.min_level, base.topology.max_level)
    topology = getattr(topologies, name)(*levels, fusion=fusion)
    return dataclasses.replace(base, topology=topology, repeats=times)
