"""BiFPN: simplified PANet with an edge from each level's input to its output. EfficientDet's feature network."""

from __future__ import annotations

from scaling_lab.architecture.topologies.paths import Paths
from scaling_lab.architecture.topology import Topology


def bifpn(min_level: int = 3, max_level: int = 7, fusion: str = "fast") -> Topology:
    """Return a top-down, then a bottom-up path that reads all of a level (arXiv:1911.09070, Figure 2(d); bifpn_config).

    P7 ───┬─────── o
          ↓        ↑
    P6 ─┬ o ────── o
        └─│────────┤
    P5 ─┬ o ────── o
        └─│────────┤
    P4 ─┬ o ────── o
        └─│────────┤
    P3 ── o ───────┘
    """
    paths = Paths(min_level, max_level, fusion)
    for level in range(max_level - 1, min_level - 1, -1):
        paths.add(level, [paths.last(level), paths.last(level + 1)])
    for level in range(min_level + 1, max_level + 1):
        paths.add(level, [*paths.ids[level], paths.last(level - 1)])
    return paths.topology()
