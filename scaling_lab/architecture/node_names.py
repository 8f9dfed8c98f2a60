"""Names of nodes in a stack of cells, under which training stores and reports find fusion weights."""

from __future__ import annotations

from scaling_lab.architecture.spec import DetectorSpec


def node_words(cell: int, level: int, node_id: int) -> str:
    """Return a node's name, such as "cell 1, P4 (node 5)": cells count from 1, ids are the topology's."""
    return f"cell {cell}, P{level} (node {node_id})"


def inputs_by_node(spec: DetectorSpec) -> dict[str, list[dict[str, int]]]:
    """Return for each node's name its inputs in order, each with cell, node, level, input and input_level.

    `node` and `input` are ids in the topology; ids below its number of levels are the cell's inputs.
    """
    topology, found = spec.topology, {}
    for cell in range(1, spec.repeats + 1):
        for node_id in topology.node_ids:
            node = topology.node(node_id)
            place = {"cell": cell, "node": node_id, "level": node.level}
            inputs = [{**place, "input": source, "input_level": topology.level_of[source]} for source in node.inputs]
            found[node_words(cell, node.level, node_id)] = inputs
    return found
