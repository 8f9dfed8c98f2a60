"""NAS-FPN: the released cell of its search, with its wiring and operations; the spec sets the convolutions.

Node list from tensorflow/models, official/vision/modeling/decoders/nasfpn.py (NASFPN_BLOCK_SPECS). There, an output also adds
every unread feature of its level; here these are ordinary edges.
"""

from __future__ import annotations

from scaling_lab.architecture.node import Node
from scaling_lab.architecture.topology import Topology, check_levels
from scaling_lab.errors import UserError

# (level, gate source or None, inputs): ids 0-4 are P3-P7. With a gate, the first input gates the second, the coarser one is
# first; further inputs are added.
_CELL: tuple[tuple[int, bool, tuple[int, ...]], ...] = (
    (4, True, (3, 1)),  # 5: gp(P6, P4)
    (4, False, (1, 5)),  # 6
    (3, False, (0, 6)),  # 7: P3
    (4, False, (6, 7)),  # 8: P4
    (5, True, (8, 7, 2)),  # 9: P5 = gp(P4 out, P3 out) + P5, unread so far
    (7, True, (9, 6, 4)),  # 10: P7 = gp(P5 out, id 6) + P7, unread so far
    (6, True, (10, 9)),  # 11: P6 = gp(P7 out, P5 out)
)


def nas_fpn(min_level: int = 3, max_level: int = 7, fusion: str = "sum", attention: str = "max") -> Topology:
    """Return the released seven-node cell, for five levels (arXiv:1904.07392). Raises UserError for other levels.

    `attention` "max" pools by maximum and gates by the coarser input (tensorflow/models); "avg" pools by average and gates
    by the finer one (mmdetection, mmcv merge_cells). `fusion` applies to nodes without attention.

        P7 ─────────────────────┬── o ──┐
        P6 ── gate              │   ↑   ↓
        P5 ────│────────────────┼ o ┴── o
        P4 ─── o ── o ────── o ─┘ ↑
        P3 ────────── o ─────┴────┘
    """
    check_levels(min_level, max_level)
    if max_level - min_level != 4:
        raise UserError(f"nas_fpn needs five levels; P{min_level} to P{max_level} are {max_level - min_level + 1}")
    if attention not in ("max", "avg"):
        raise UserError(f"attention {attention!r} is unknown; allowed are 'max' and 'avg'")
    nodes = []
    for level, gated, inputs in _CELL:
        if gated and attention == "avg":
            inputs = (inputs[1], inputs[0], *inputs[2:])
        nodes.append(Node(level - 3 + min_level, inputs, f"attention_{attention}" if gated else fusion))
    return Topology(min_level, max_level, tuple(nodes))
