"""Quad-FPN: a top-down and bottom-up pair of paths in parallel with a bottom-up and top-down pair."""

from __future__ import annotations

from scaling_lab.architecture.topologies.paths import Paths
from scaling_lab.architecture.topology import Topology


def quad_fpn(min_level: int = 3, max_level: int = 7, fusion: str = "fast") -> Topology:
    """Return two pairs of paths, fused level by level (google/automl efficientdet/tf2/fpn_configs.py, qufpn_config).

    The final nodes always fuse "fast", as in the source.

        BiFPN (down, then up) ──┐
                                o   at every level
        BiFPN upside down ──────┘
    """
    paths = Paths(min_level, max_level, fusion)
    levels = range(min_level, max_level + 1)
    for level in levels[-2::-1]:
        paths.add(level, [paths.last(level), paths.last(level + 1)])
    for level in levels[1:]:
        paths.add(level, [*paths.ids[level], paths.last(level - 1)])
    down_up = {level: paths.last(level) for level in levels}
    paths.start_from_inputs()
    for level in levels[1:]:
        paths.add(level, [paths.last(level), paths.last(level - 1)])
    for level in levels[-2::-1]:
        paths.add(level, [*paths.ids[level], paths.last(level + 1)])
    up_down = {level: paths.last(level) for level in levels}
    paths.fusion = "fast"
    for level in reversed(levels):
        paths.add(level, [down_up[level], up_down[level]])
    return paths.topology()
