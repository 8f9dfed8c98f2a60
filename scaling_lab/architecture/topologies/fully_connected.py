"""Fully-connected FPN: stages in which every node reads every level. Derived, since the paper gives no definition.

arXiv:1911.09070v7 has only its row in Table 5. Two stages match the published cost: 1.24 times PANet's parameters, and 1.21
times its multiply-adds by TensorFlow's count (1.18 for convolutions only). One stage has 0.79 times the parameters.
"""

from __future__ import annotations

from scaling_lab.architecture.topologies.paths import Paths
from scaling_lab.architecture.topology import Topology
from scaling_lab.checks import check_whole


def fully_connected(min_level: int = 3, max_level: int = 7, fusion: str = "fast", stages: int = 2) -> Topology:
    """Return stages whose nodes read all levels of the previous stage (arXiv:1911.09070, Table 5).

    P7 ══╬══ o ══╬══ o
    P6 ══╬══ o ══╬══ o        ╬: every level to every level
    P5 ══╬══ o ══╬══ o
    P4 ══╬══ o ══╬══ o
    P3 ══╬══ o ══╬══ o
    """
    check_whole("stages", stages, least=1)
    paths = Paths(min_level, max_level, fusion)
    levels = range(min_level, max_level + 1)
    for _ in range(stages):
        before = [paths.last(level) for level in levels]
        for level in levels:
            paths.add(level, before)
    return paths.topology()
