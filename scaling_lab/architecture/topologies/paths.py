"""A builder of topologies, path by path, shared by the published ones."""

from __future__ import annotations

from collections.abc import Sequence

from scaling_lab.architecture.node import Node
from scaling_lab.architecture.topology import Topology, check_levels


class Paths:
    """The nodes so far, and the ids at each level in order of creation (the level's input first)."""

    def __init__(self, min_level: int, max_level: int, fusion: str) -> None:
        check_levels(min_level, max_level)
        self.min_level, self.max_level, self.fusion = min_level, max_level, fusion
        self.nodes: list[Node] = []
        self.ids: dict[int, list[int]] = {}
        self.start_from_inputs()

    def start_from_inputs(self) -> None:
        """Let the next path read the cell's inputs again."""
        self.ids = {level: [index] for index, level in enumerate(range(self.min_level, self.max_level + 1))}

    def add(self, level: int, inputs: Sequence[int]) -> int:
        """Add a node at `level` that reads `inputs` and return its id."""
        node_id = len(self.ids) + len(self.nodes)
        self.nodes.append(Node(level, tuple(inputs), self.fusion))
        self.ids[level].append(node_id)
        return node_id

    def last(self, level: int) -> int:
        """Return the newest id at a level."""
        return self.ids[level][-1]

    def topology(self) -> Topology:
        """Return the topology."""
        return Topology(self.min_level, self.max_level, tuple(self.nodes))
