"""A canonical order of the nodes of a topology, independent of how it was written.

Colour refinement distinguishes nodes by what they read and what reads them. Where several remain alike that are not mere
twins, each is tried first and the smallest encoding wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scaling_lab.architecture.topology import Topology


def canonical_order(topology: Topology) -> list[int]:
    """Return the node ids in canonical order, for a topology without dead nodes."""
    colours = _refined(topology, dict.fromkeys(topology.node_ids, 0))
    return _best_order(topology, colours)[1]


def _best_order(topology: Topology, colours: dict[int, int]) -> tuple[tuple[Any, ...], list[int]]:
    """Return the smallest encoding and its order over all ways of breaking relevant ties."""
    tie = _first_tie(topology, colours)
    if tie is None:
        order = _topological(topology, colours)
        return _encoding(topology, order), order
    fresh = max(colours.values()) + 1
    branches = (_refined(topology, {**colours, chosen: fresh}) for chosen in tie)
    return min((_best_order(topology, branch) for branch in branches), key=lambda pair: pair[0])


def _refined(topology: Topology, colours: dict[int, int]) -> dict[int, int]:
    """Split colours by the colours of a node's inputs and readers until they are stable."""
    readers: dict[int, list[tuple[int, int]]] = {node_id: [] for node_id in topology.node_ids}
    for node_id in topology.node_ids:
        for place, source in enumerate(topology.node(node_id).inputs):
            if source in readers:
                ordered = place if place < topology.node(node_id).ordered_inputs else -1
                readers[source].append((node_id, ordered))
    outputs = set(topology.outputs)
    while True:
        keys = {}
        for node_id in topology.node_ids:
            node = topology.node(node_id)
            reads = [_colour_of(topology, colours, source) for source in node.inputs]
            kept = node.ordered_inputs
            read_by = sorted((colours[reader], place) for reader, place in readers[node_id])
            own = (colours[node_id], node.level, node.fusion, node_id in outputs)
            keys[node_id] = (*own, tuple(reads[:kept]), tuple(sorted(reads[kept:])), tuple(read_by))
        ranks = {key: rank for rank, key in enumerate(sorted(set(keys.values())))}
        refined = {node_id: ranks[key] for node_id, key in keys.items()}
        if len(ranks) == len(set(colours.values())):
            return refined
        colours = refined


def _colour_of(topology: Topology, colours: dict[int, int], index: int) -> tuple[int, int]:
    """Return a key for an input (its id) or a node (its colour)."""
    return (0, index) if index < topology.num_inputs else (1, colours[index])


def _first_tie(topology: Topology, colours: dict[int, int]) -> list[int] | None:
    """Return the nodes of the smallest shared colour that are not twins, or None."""
    groups: dict[int, list[int]] = {}
    for node_id, colour in colours.items():
        groups.setdefault(colour, []).append(node_id)
    for colour in sorted(groups):
        group = groups[colour]
        if len(group) > 1 and len({_surroundings(topology, node_id) for node_id in group}) > 1:
            return group
    return None


def _surroundings(topology: Topology, node_id: int) -> tuple[Any, ...]:
    """Return a node's inputs and readers, which are equal for twins; twins may be in any order."""
    readers = tuple(reader for reader in topology.node_ids if node_id in topology.node(reader).inputs)
    return (frozenset(topology.node(node_id).inputs), readers)


def _topological(topology: Topology, colours: dict[int, int]) -> list[int]:
    """Order nodes after their inputs, a level's output after all others of its level, small colours first."""
    before = {node_id: {s for s in topology.node(node_id).inputs if s >= topology.num_inputs} for node_id in colours}
    for output in topology.outputs:
        if output >= topology.num_inputs:
            level = topology.level_of[output]
            before[output] |= {other for other in colours if other != output and topology.level_of[other] == level}
    order: list[int] = []
    done: set[int] = set()
    while len(order) < len(before):
        ready = [node_id for node_id in before if node_id not in done and before[node_id] <= done]
        chosen = min(ready, key=lambda node_id: (colours[node_id], node_id))
        order.append(chosen)
        done.add(chosen)
    return order


def _encoding(topology: Topology, order: Sequence[int]) -> tuple[Any, ...]:
    """Return the nodes in this order as a comparable value."""
    written = topology._reordered(order)
    return tuple((node.level, node.inputs, node.fusion) for node in written.nodes)
