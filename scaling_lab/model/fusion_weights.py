"""Reading a detector's learned fusion weights, as numbers by node: what training records each epoch. It changes nothing."""

from __future__ import annotations

from scaling_lab.architecture.node_names import node_words
from scaling_lab.model.detector import Detector
from scaling_lab.model.fusion import Weighted

DIGITS = 4  # of a weight: what a figure shows of it, and little enough to keep for every epoch


def fusion_weights(detector: Detector) -> dict[str, list[float]]:
    """Give the normalised weights of each node that fuses by learned weights, in the order of the node's inputs.

    The keys are `node_words`, such as "cell 1, P4 (node 5)". Weights for each channel are averaged over the channels. A node
    with one input fuses nothing and is left out; without weighted fusion there are none.
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
