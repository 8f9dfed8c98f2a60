"""Feature networks and their sizes: topology, fusion, width, repeats and head repeats; all else as in a base detector.

All points have the base's backbone, levels, anchors and image size, so they can share weights.

Size: 2 fusions of 5 networks and one without, 6 widths, 2 repeats and 3 head repeats: 396 points.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from scaling_lab import DetectorSpec, topologies
from search_spaces.compound import ONE_CELL

NETWORKS = ("none", "fpn", "simplified_panet", "panet", "bifpn", "fully_connected")


def space(
    trial: Any,
    base: DetectorSpec = ONE_CELL,
    names: tuple[str, ...] = NETWORKS,
    widths: tuple[int, ...] = (24, 32, 40, 48, 56, 64),
    repeats: tuple[int, ...] = (1, 2),
    head_repeats: tuple[int, ...] = (1, 2, 3),
) -> DetectorSpec:
    """Return a detector by its network, fusion (where it applies), width, repeats and head repeats."""
    name = trial.suggest_categorical("network", list(names))
    fusion = "sum" if name == "none" else trial.suggest_categorical("fusion", ["sum", "fast"])
    levels = (base.topology.min_level, base.topology.max_level)
    return dataclasses.replace(
        base,
        topology=getattr(topologies, name)(*levels, fusion=fusion),
        width=trial.suggest_categorical("width", list(widths)),
        repeats=trial.suggest_categorical("repeats", list(repeats)),
        head_repeats=trial.suggest_categorical("head_repeats", list(head_repeats)),
    )
