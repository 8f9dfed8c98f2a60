"""A topology: one feature-network cell as a list of nodes, with its checks and rewrites.

Ids 0 … L-1 are the cell's inputs, finest level first; every node takes the next id. The output of a level is the last
node at that level, or the input itself where no node has that level.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from scaling_lab.architecture.canonical import canonical_order
from scaling_lab.architecture.node import Node, reordered
from scaling_lab.architecture.published import PUBLISHED
from scaling_lab.checks import Fields, check_items, check_whole
from scaling_lab.errors import UserError

FINEST_LEVEL, COARSEST_LEVEL = 1, 9


@dataclass(frozen=True)
class Topology(Fields):
    """One cell from `min_level` to `max_level`. Raises UserError where a node reads an id that does not precede it."""

    min_level: int
    max_level: int
    nodes: tuple[Node, ...] = ()

    def __post_init__(self) -> None:
        check_levels(self.min_level, self.max_level)
        allowed = "a list of Nodes, such as (Node(4, (1, 2)),)"
        object.__setattr__(self, "nodes", check_items("topology: nodes", self.nodes, allowed))
        for place, node in enumerate(self.nodes):
            if not isinstance(node, Node):
                raise UserError(f"topology: nodes[{place}] is {node!r}; allowed is a Node, such as Node(4, (1, 2))")
        for node_id, node in enumerate(self.nodes, start=self.num_inputs):
            self._check_node(node_id, node)

    def _check_node(self, node_id: int, node: Node) -> None:
        name = f"node {node_id} (P{node.level})"
        if not self.min_level <= node.level <= self.max_level:
            raise UserError(f"{name} is outside the levels P{self.min_level} to P{self.max_level}")
        for source in node.inputs:
            if not 0 <= source < self.num_inputs + len(self.nodes):
                last = self.num_inputs + len(self.nodes) - 1
                raise UserError(f"{name} reads id {source}, which does not exist; the ids are 0 to {last}")
            if source >= node_id:
                raise UserError(
                    f"{name} reads id {source}, which does not precede it (a cell has no cycles); "
                    f"allowed are 0 to {node_id - 1}"
                )

    # --- reading -----------------------------------------------------------------------------------------------------

    @property
    def num_inputs(self) -> int:
        """The number of levels, which is the number of the cell's inputs and of its outputs."""
        return self.max_level - self.min_level + 1

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels, finest first."""
        return tuple(range(self.min_level, self.max_level + 1))

    @property
    def node_ids(self) -> range:
        """The ids of the nodes, in order."""
        return range(self.num_inputs, self.num_inputs + len(self.nodes))

    @cached_property
    def level_of(self) -> tuple[int, ...]:
        """The level of every id, inputs first."""
        return (*self.levels, *(node.level for node in self.nodes))

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        """The id of each level's output, finest level first."""
        last = {level: index for index, level in enumerate(self.level_of)}
        return tuple(last[level] for level in self.levels)

    @property
    def num_edges(self) -> int:
        """The number of inputs over all nodes."""
        return sum(len(node.inputs) for node in self.nodes)

    @cached_property
    def dead_nodes(self) -> tuple[int, ...]:
        """The ids of nodes that no output depends on."""
        alive = set(self.outputs)
        for node_id in reversed(self.node_ids):
            if node_id in alive:
                alive.update(self.node(node_id).inputs)
        return tuple(node_id for node_id in self.node_ids if node_id not in alive)

    def node(self, node_id: int) -> Node:
        """Return the node with this id (not an input's id)."""
        return self.nodes[node_id - self.num_inputs]

    @property
    def crosses_scales(self) -> bool:
        """Whether any edge joins two levels."""
        return any(self.level_of[source] != node.level for node in self.nodes for source in node.inputs)

    @cached_property
    def canonical(self) -> Topology:
        """Return the same graph in canonical order, without dead nodes."""
        alive = self.without_dead_nodes()
        order = canonical_order(alive.nodes, num_inputs=alive.num_inputs, outputs=alive.outputs)
        return alive._reordered(order)

    @cached_property
    def digest(self) -> str:
        """A 12-digit hexadecimal digest, equal where two topologies are the same graph."""
        return hashlib.sha256(json.dumps(self.canonical.to_dict()).encode()).hexdigest()[:12]

    @property
    def published_name(self) -> str | None:
        """The published name of this wiring, regardless of fusion, such as "bifpn", or None."""
        return _published_name(self)

    def describe(self) -> str:
        """Return name, levels and fusion, such as "bifpn P3-P7 fast"; an unpublished one is "custom <digest>"."""
        return _described(self)

    # --- rewriting ---------------------------------------------------------------------------------------------------

    def _reordered(self, order: Sequence[int]) -> Topology:
        return dataclasses.replace(self, nodes=reordered(self.nodes, order, num_inputs=self.num_inputs))

    def without_dead_nodes(self) -> Topology:
        """Return the topology without nodes that no output depends on."""
        dead = set(self.dead_nodes)
        if not dead:
            return self
        return self._reordered([node_id for node_id in self.node_ids if node_id not in dead])

    def without_single_input_nodes(self) -> Topology:
        """Return the topology without single-input nodes; their readers read the input (arXiv:1911.09070, section 3.2).

        A single input from another level stays: it is a resampling, and dropping it would move a feature's level.
        """
        stands_for = {index: index for index in range(self.num_inputs)}
        kept: list[int] = []
        nodes: list[Node] = []
        for node_id in self.node_ids:
            node = self.node(node_id)
            if len(node.inputs) == 1 and self.level_of[node.inputs[0]] == node.level:
                stands_for[node_id] = stands_for[node.inputs[0]]
                continue
            stands_for[node_id] = self.num_inputs + len(kept)
            inputs = tuple(dict.fromkeys(stands_for[source] for source in node.inputs))
            nodes.append(dataclasses.replace(node, inputs=inputs))
            kept.append(node_id)
        return dataclasses.replace(self, nodes=tuple(nodes))

    def with_same_level_skips(self) -> Topology:
        """Return the topology with every output node reading its level's input too (arXiv:1911.09070, section 3.2)."""
        nodes = list(self.nodes)
        for level_input, output in enumerate(self.outputs):
            if output < self.num_inputs:
                continue
            node = self.node(output)
            if level_input not in node.inputs:
                kept = node.inputs[: node.ordered_inputs]
                added = sorted((level_input, *node.inputs[node.ordered_inputs :]))
                nodes[output - self.num_inputs] = dataclasses.replace(node, inputs=(*kept, *added))
        return dataclasses.replace(self, nodes=tuple(nodes))

    def with_fusion(self, fusion: str) -> Topology:
        """Return the topology with this fusion in every node."""
        return dataclasses.replace(self, nodes=tuple(dataclasses.replace(node, fusion=fusion) for node in self.nodes))

    def repeated(self, times: int) -> Topology:
        """Return a stack of `times` cells unrolled into one graph, each cell reading the previous outputs."""
        check_whole("times in repeated(times)", times, least=1)
        nodes: list[Node] = []
        stands_for = list(range(self.num_inputs))
        for _ in range(times):
            start = self.num_inputs + len(nodes)
            ids = [*stands_for, *range(start, start + len(self.nodes))]
            nodes += [
                dataclasses.replace(node, inputs=tuple(ids[source] for source in node.inputs)) for node in self.nodes
            ]
            stands_for = [ids[output] for output in self.outputs]
        return dataclasses.replace(self, nodes=tuple(nodes))

    # --- JSON --------------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, each node as [level, inputs, fusion]."""
        nodes = [[node.level, list(node.inputs), node.fusion] for node in self.nodes]
        return {"min_level": self.min_level, "max_level": self.max_level, "nodes": nodes}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Topology:
        """Return the topology of a `to_dict` result. Raises UserError for anything else."""
        if not isinstance(values, Mapping) or set(values) != {"min_level", "max_level", "nodes"}:
            raise UserError(f"a topology is {values!r}; allowed is a mapping with min_level, max_level and nodes")
        nodes = []
        for place, written in enumerate(check_items("topology: nodes", values["nodes"], "a list of nodes")):
            if not isinstance(written, (list, tuple)) or len(written) != 3:
                allowed = "[level, inputs, fusion]"
                raise UserError(f"topology: nodes[{place}] is {written!r}; allowed is {allowed}")
            nodes.append(Node(*written))
        return cls(values["min_level"], values["max_level"], tuple(nodes))


def check_levels(min_level: int, max_level: int) -> None:
    """Raise UserError for an invalid range of levels."""
    check_whole("min_level", min_level)
    check_whole("max_level", max_level)
    if not FINEST_LEVEL <= min_level <= max_level <= COARSEST_LEVEL:
        raise UserError(
            f"levels P{min_level} to P{max_level}: allowed are P{FINEST_LEVEL} to P{COARSEST_LEVEL}, finest first"
        )


@lru_cache(maxsize=4096)
def _described(topology: Topology) -> str:
    name = topology.published_name or f"custom {topology.digest}"
    fusions = sorted({node.fusion for node in topology.nodes if len(node.inputs) > 1})
    words = [name, f"P{topology.min_level}-P{topology.max_level}", "+".join(fusions)]
    return " ".join(word for word in words if word)


@lru_cache(maxsize=4096)
def _published_name(topology: Topology) -> str | None:
    digest = topology.with_fusion("sum").digest
    for name, make in PUBLISHED.items():
        try:
            known = make(topology.min_level, topology.max_level)
        except UserError:  # a cell of other levels
            continue
        if len(known.nodes) == len(topology.nodes) and known.with_fusion("sum").digest == digest:
            return name
    return None
