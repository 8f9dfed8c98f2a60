"""FPN: one top-down path, as in EfficientDet's Figure 2(a), without FPN's lateral and output convolutions."""

from __future__ import annotations

from scaling_lab.architecture.topologies.paths import Paths
from scaling_lab.architecture.topology import Topology


def fpn(min_level: int = 3, max_level: int = 7, fusion: str = "fast") -> Topology:
    """Return one top-down path, each level fused with the next coarser one (arXiv:1612.03144; arXiv:1911.09070, 3.1).

    P7 ── o
          ↓
    P6 ── o
          ↓
    P5 ── o
          ↓
    P4 ── o
          ↓
    P3 ── o
    """
    paths = Paths(min_level, max_level, fusion)
    for level in range(max_level, min_level - 1, -1):
        above = [paths.last(level + 1)] if level < max_level else []
        paths.add(level, [paths.last(level), *above])
    return paths.topology()
