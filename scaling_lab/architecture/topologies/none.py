"""No feature network: one node for each level that reads only its own level; a baseline."""

from __future__ import annotations

from scaling_lab.architecture.topologies.paths import Paths
from scaling_lab.architecture.topology import Topology


def none(min_level: int = 3, max_level: int = 7, fusion: str = "sum") -> Topology:
    """Return one node for each level, without edges between levels.

    P7 ── o
    P6 ── o
    P5 ── o
    P4 ── o
    P3 ── o
    """
    paths = Paths(min_level, max_level, fusion)
    for level in range(max_level, min_level - 1, -1):
        paths.add(level, [paths.last(level)])
    return paths.topology()
