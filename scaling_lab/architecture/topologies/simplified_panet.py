"""Simplified PANet: PANet without single-input nodes, the first of the paper's three steps to BiFPN."""

from __future__ import annotations

from scaling_lab.architecture.topologies.paths import Paths
from scaling_lab.architecture.topology import Topology


def simplified_panet(min_level: int = 3, max_level: int = 7, fusion: str = "fast") -> Topology:
    """Return PANet without its single-input nodes (arXiv:1911.09070, section 3.2).

    P7 ───┬─────── o
          ↓        ↑
    P6 ── o ────── o
          ↓        ↑
    P5 ── o ────── o
          ↓        ↑
    P4 ── o ────── o
          ↓        ↑
    P3 ── o ───────┘
    """
    paths = Paths(min_level, max_level, fusion)
    for level in range(max_level - 1, min_level - 1, -1):
        paths.add(level, [paths.last(level), paths.last(level + 1)])
    for level in range(min_level + 1, max_level + 1):
        paths.add(level, [paths.last(level), paths.last(level - 1)])
    return paths.topology()
