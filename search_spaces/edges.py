"""Which edges does a fully-connected feature network need? Subsets of the edges of topologies.fully_connected.

This space is our own; the network is EfficientDet's (arXiv:1911.09070, Table 5). A node without edges is dropped; its
readers read the previous feature of its level, since a level without nodes is its own output. Nodes that no output depends
on are dropped too. If nothing reads a level's input, the level's output node does, as DetectorSpec requires. So every
point is a valid detector with an output at every level.

With all edges it is topologies.fully_connected. topologies.none is a point; fpn, simplified_panet and panet are points
with enough stages for their longest path (on P3-P7 5, 8 and 10). BiFPN, NAS-FPN and quad-FPN are not points: their nodes
read two features of one level, but a stage has one.

Size: stages · levels² edges, so 2^50 = 1.1e15 points with two stages on P3-P7. At least 24,997,921² = 6.2e14 of them are
distinct graphs: 24,997,921 of the 5 x 5 edge matrices have an edge in every row and column. For studies on the
connections that matter: sampler "tpe" or "nsga2", with gmacs as the second objective.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from scaling_lab import DetectorSpec, Node, Topology, topologies
from search_spaces.compound import SMALL


def space(trial: Any, base: DetectorSpec = SMALL.base, stages: int = 2) -> DetectorSpec:
    """Return a detector by the presence of every edge: s2_P3_P5 goes from P3 to stage 2's node at P5."""
    levels = base.topology.levels
    full = topologies.fully_connected(levels[0], levels[-1], stages=stages)
    nodes: list[Node] = []
    stands_for = list(range(full.num_inputs))  # maps ids of the full network to ids here
    for node_id in full.node_ids:
        node, stage = full.node(node_id), node_id // full.num_inputs
        names = {source: f"s{stage}_P{full.level_of[source]}_P{node.level}" for source in node.inputs}
        chosen = [source for source in node.inputs if trial.suggest_categorical(names[source], [False, True])]
        if not chosen:
            stands_for.append(stands_for[node_id - full.num_inputs])
            continue
        stands_for.append(full.num_inputs + len(nodes))
        nodes.append(dataclasses.replace(node, inputs=tuple(stands_for[source] for source in chosen)))
    topology = dataclasses.replace(full, nodes=tuple(nodes)).without_dead_nodes()
    return dataclasses.replace(base, topology=_with_every_input_read(topology))


def _with_every_input_read(topology: Topology) -> Topology:
    """Return the topology with outputs that read their level's input where nothing else does."""
    read = {source for node in topology.nodes for source in node.inputs}
    nodes = list(topology.nodes)
    for level_input, output in enumerate(topology.outputs):
        if level_input != output and level_input not in read:
            node = topology.node(output)
            nodes[output - topology.num_inputs] = dataclasses.replace(node, inputs=(level_input, *node.inputs))
    return dataclasses.replace(topology, nodes=tuple(nodes))
