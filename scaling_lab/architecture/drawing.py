"""The layout of a topology's nodes in a drawing, and a drawing in characters."""

from __future__ import annotations

from scaling_lab.architecture.topology import Topology


def layout(topology: Topology) -> list[tuple[int, int, int]]:
    """Return (id, level, column) of every input and node: inputs in column 0, a node right of its inputs.

    No two share a position: a level's ids keep their order from left to right.
    """
    column: dict[int, int] = dict.fromkeys(range(topology.num_inputs), 0)
    newest = dict.fromkeys(topology.levels, 0)
    for node_id in topology.node_ids:
        node = topology.node(node_id)
        same_level = [column[source] + 1 for source in node.inputs if topology.level_of[source] == node.level]
        other = [max(column[source], 1) for source in node.inputs if topology.level_of[source] != node.level]
        column[node_id] = max([newest[node.level] + 1, *same_level, *other])
        newest[node.level] = column[node_id]
    return [(index, topology.level_of[index], column[index]) for index in range(len(topology.level_of))]


def ascii_drawing(topology: Topology) -> str:
    """Draw levels as rows, coarsest first, with each node's id and inputs, such as "8<0,7" (* marks an output)."""
    places = layout(topology)
    columns = 1 + max(column for _, _, column in places)
    cells = {(level, column): _cell(topology, index) for index, level, column in places}
    widths = [max(len(cells.get((level, column), "")) for level in topology.levels) for column in range(columns)]
    rows = []
    for level in reversed(topology.levels):
        row = [cells.get((level, column), "").ljust(width) for column, width in enumerate(widths)]
        rows.append(f"P{level}  " + "  ".join(row).rstrip())
    return "\n".join(rows)


def legend(topology: Topology) -> str:
    """Return a legend for `ascii_drawing`, with the first node of several inputs, if any, as the example."""
    ids = sorted(topology.node_ids, key=lambda index: len(topology.node(index).inputs) < 2)
    words = "* marks the output of a level"
    if not ids:
        return words
    inputs = [str(source) for source in topology.node(ids[0]).inputs]
    read = f"reads {', '.join(inputs[:-1])} and {inputs[-1]}" if len(inputs) > 1 else f"reads {inputs[0]}"
    return f"{_cell(topology, ids[0]).rstrip('*')}: node {ids[0]} {read}; {words}"


def _cell(topology: Topology, index: int) -> str:
    mark = "*" if index in topology.outputs else ""
    if index < topology.num_inputs:
        return f"{index}{mark}"
    return f"{index}<{','.join(str(source) for source in topology.node(index).inputs)}{mark}"
