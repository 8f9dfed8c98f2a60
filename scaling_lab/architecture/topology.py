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
from functools import cached_property
from typing import Any

from scaling_lab.architecture.canonical import canonical_order
from scaling_lab.checks import Fields, check_items, check_whole
from scaling_lab.errors import UserError

FINEST_LEVEL, COARSEST_LEVEL = 1, 9

# How a node combines its inputs x_0 … x_n, each resampled to the node's size and width (w are learned, one per input):
#   sum, mean              Σ x_i and Σ x_i / n
#   fast                   Σ relu(w_i) x_i / (Σ relu(w_j) + 1e-4)             arXiv:1911.09070, section 3.3
#   softmax                Σ softmax(w)_i x_i                                 arXiv:1911.09070, section 3.3
#   unbounded              Σ w_i x_i                                          arXiv:1911.09070, section 3.3
#   channel_fast, channel_softmax   the same with a w_i for each channel      google/automl efficientdet, fuse_features
#   attention_max, attention_avg    x_0 + sigmoid(pool(x_0)) x_1 + Σ_{i>1} x_i, pool over the whole image  arXiv:1904.07392
FUSIONS = (
    "sum",
    "mean",
    "fast",
    "softmax",
    "unbounded",
    "channel_fast",
    "channel_softmax",
    "attention_max",
    "attention_avg",
)
ATTENTION_FUSIONS = ("attention_max", "attention_avg")


@dataclass(frozen=True)
class Node(Fields):
    """A node that fuses the features with ids `inputs` at `level` (stride 2**level). Raises UserError.

    The order of inputs matters only to attention fusions: the first gates the second, the others are added.
    """

    level: int
    inputs: tuple[int, ...]
    fusion: str = "fast"

    def __post_init__(self) -> None:
        check_whole("a node's level", self.level)
        inputs = check_items(f"a node at P{self.level}: inputs", self.inputs, "a list of ids, such as (0, 1)")
        object.__setattr__(self, "inputs", inputs)
        for source in inputs:
            check_whole(f"a node at P{self.level}: an input", source)
        if self.fusion not in FUSIONS:
            raise UserError(f"fusion {self.fusion!r} is unknown; allowed are {', '.join(FUSIONS)}")
        if not self.inputs:
            raise UserError(f"a node at P{self.level} has no inputs; allowed is at least one")
        if len(set(self.inputs)) < len(self.inputs):
            raise UserError(f"a node at P{self.level} reads an id twice: {list(self.inputs)}; allowed are distinct ids")
        if self.fusion in ATTENTION_FUSIONS and len(self.inputs) < 2:
            raise UserError(
                f"a node at P{self.level} with fusion {self.fusion!r} has one input; allowed are at least two"
            )

    @property
    def ordered_inputs(self) -> int:
        """The number of first inputs whose order matters."""
        return 2 if self.fusion in ATTENTION_FUSIONS else 0


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
        return alive._reordered(canonical_order(alive))

    @cached_property
    def digest(self) -> str:
        """A 12-digit hexadecimal digest, equal where two topologies are the same graph."""
        return hashlib.sha256(json.dumps(self.canonical.to_dict()).encode()).hexdigest()[:12]

    def describe(self) -> str:
        """Return a short description, such as "bifpn P3-P7 fast", with a digest for unpublished ones."""
        from scaling_lab.architecture.naming import topology_words

        return topology_words(self)

    # --- rewriting ---------------------------------------------------------------------------------------------------

    def _reordered(self, order: Sequence[int]) -> Topology:
        """Return the topology with these nodes in this order, renumbered; inputs keep their ids."""
        new_id = {old: old for old in range(self.num_inputs)}
        new_id.update({old: self.num_inputs + place for place, old in enumerate(order)})
        nodes = []
        for old in order:
            node = self.node(old)
            inputs = [new_id[source] for source in node.inputs]
            kept = node.ordered_inputs
            nodes.append(dataclasses.replace(node, inputs=(*inputs[:kept], *sorted(inputs[kept:]))))
        return dataclasses.replace(self, nodes=tuple(nodes))

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
