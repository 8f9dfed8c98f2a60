"""Names for the nodes of a stack of cells: under which training keeps a node's fusion weights, and reports find them again."""

from __future__ import annotations

from scaling_lab.architecture.spec import DetectorSpec


def node_words(cell: int, level: int, node_id: int) -> str:
    """Name a node, such as "cell 1, P4 (node 5)": cells count from 1, ids are the topology's."""
    return f"cell {cell}, P{level} (node {node_id})"


def inputs_by_node(spec: DetectorSpec) -> dict[str, list[dict[str, int]]]:
    """Give by each node's name a place for each of its inputs, in their order: cell, node, level, input, input_level.

    `node` and `input` are ids in the topology, of which those below its number of levels are the cell's inputs.
    """
    topology, found = spec.topology, {}
    for cell in range(1, spec.repeats + 1):
        for node_id in topology.node_ids:
            node = topology.node(node_id)
            place = {"cell": cell, "node": node_id, "level": node.level}
            inputs = [{**place, "input": source, "input_level": topology.level_of[source]} for source in node.inputs]
            found[node_words(cell, node.level, node_id)] = inputs
    return found
