"""Reads a detector's learned fusion weights by node, which training records each epoch."""

from __future__ import annotations

from scaling_lab.architecture.node_names import node_words
from scaling_lab.model.detector import Detector
from scaling_lab.model.fusion import Weighted

DIGITS = 4  # of a weight: enough for figures, and small enough to store every epoch


def fusion_weights(detector: Detector) -> dict[str, list[float]]:
    """Return the normalised weights of each node with learned fusion weights, in the order of the node's inputs.

    The keys are `node_words`, such as "cell 1, P4 (node 5)". Weights for each channel are averaged over the channels. Nodes
    with one input are left out; without weighted fusion the result is empty.
    """
    topology = detector.spec.topology
    found = {}
    for place, cell in enumerate(detector.feature_network.cells, start=1):
        for node_id, node in zip(topology.node_ids, cell.nodes, strict=True):  # type: ignore[arg-type]
            if isinstance(node.fusion, Weighted) and len(topology.node(node_id).inputs) > 1:
                weights = node.fusion.normalised().detach().float()
                means = weights.mean(dim=1) if weights.dim() == 2 else weights
                name = node_words(place, topology.node(node_id).level, node_id)
                found[name] = [round(weight, DIGITS) for weight in means.tolist()]
    return found
