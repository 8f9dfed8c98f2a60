"""PANet: a top-down, then a bottom-up path, as in EfficientDet and effdet, without PANet's pooling and heads."""

from __future__ import annotations

from scaling_lab.architecture.topologies.paths import Paths
from scaling_lab.architecture.topology import Topology


def panet(min_level: int = 3, max_level: int = 7, fusion: str = "fast") -> Topology:
    """Return a top-down, then a bottom-up path with nodes at every level (arXiv:1803.01534; effdet panfpn_config).

    P7 ── o ── o
          ↓    ↑
    P6 ── o ── o
          ↓    ↑
    P5 ── o ── o
          ↓    ↑
    P4 ── o ── o
          ↓    ↑
    P3 ── o ── o
    """
    paths = Paths(min_level, max_level, fusion)
    for level in range(max_level, min_level - 1, -1):
        above = [paths.last(level + 1)] if level < max_level else []
        paths.add(level, [paths.last(level), *above])
    for level in range(min_level, max_level + 1):
        below = [paths.last(level - 1)] if level > min_level else []
        paths.add(level, [paths.last(level), *below])
    return paths.topology()
