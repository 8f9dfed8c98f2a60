"""Features of a detector's pieces, counted from the spec, with which their time should grow."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from scaling_lab.architecture.node import Node
from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.cost import Cost, PartCost
from scaling_lab.cost.backbone_counts import count_backbone
from scaling_lab.latency.profiling import Piece, pieces_of
from scaling_lab.model.layers import next_size

Features = dict[str, float]

# Fields with features of their own; all other fields of a spec change the operators of every piece.
_NUMBERS = ("topology", "width", "repeats", "head_repeats", "num_classes", "image_size")
_WITHOUT_TIME = ("pixels", "anchors", "head", "backbone", "backbone_options")


def style_of(spec: DetectorSpec) -> dict[str, Any]:
    """Return the fields that select the operators of feature network and heads."""
    return {
        field.name: getattr(spec, field.name)
        for field in dataclasses.fields(spec)
        if field.name not in (*_NUMBERS, *_WITHOUT_TIME)
    }


def backbone_of(spec: DetectorSpec) -> str:
    """Return a backbone's name with its options and levels."""
    levels = [spec.topology.min_level, spec.topology.max_level]
    return json.dumps([spec.backbone, spec.backbone_options, levels], sort_keys=True)


def features_of(spec: DetectorSpec, cost: Cost) -> list[tuple[Piece, Features]]:
    """Return each piece of `pieces_of` with its features."""
    pieces = pieces_of(spec, cost)
    nodes = _node_features(spec, list(cost.nodes))
    found = []
    for piece in pieces:
        if piece.kind == "node":
            found.append((piece, next(nodes)))
        elif piece.kind == "heads":
            found.append((piece, {**_of_cost(piece.cost), "convolutions": float(spec.head_repeats)}))
        else:
            found.append((piece, _of_cost(piece.cost)))
    return found


def _of_cost(cost: PartCost) -> Features:
    return {"one": 1.0, "macs": float(cost.macs), "activations": float(cost.activations)}


def _node_features(spec: DetectorSpec, costs: list[Any]) -> Iterator[Features]:
    """Yield the features of all nodes, walking the cells like model/feature_network.py."""
    topology, width = spec.topology, spec.width
    shapes = [(channels, (height, length)) for channels, height, length in count_backbone(spec)[2]]
    while len(shapes) < topology.num_inputs:
        shapes.append((width, next_size(*shapes[-1][1])))
    sizes = [size for _, size in shapes]
    counted = iter(costs)
    channels = [each for each, _ in shapes]
    for _ in range(spec.repeats):
        known = list(channels)
        for node in topology.nodes:
            yield _of_node(spec, node, known, sizes, next(counted))
            known.append(width)
        channels = [known[output] for output in topology.outputs]


def _of_node(
    spec: DetectorSpec, node: Node, channels: list[int], sizes: list[tuple[int, int]], cost: PartCost
) -> Features:
    lowest, width = spec.topology.min_level, spec.width

    def positions(level: int) -> int:
        height, length = sizes[level - lowest]
        return height * length

    made = width * positions(node.level)
    inputs = len(node.inputs)
    fusion = node.fusion if inputs > 1 else "one input"
    found = {
        **_of_cost(cost),
        f"{fusion}": 1.0,
        f"{fusion}, inputs": float(inputs),
        f"{fusion}, read": float(inputs * made),
    }
    for source in node.inputs:
        level = spec.topology.level_of[source]
        more: Features = {}
        if channels[source] != width:
            more |= {"projections": 1.0, "projected": float(channels[source] * positions(level))}
        if level < node.level:
            more |= {"pooled": 1.0, "pooled, read": float(width * positions(level))}
        elif level > node.level:
            more |= {"enlarged": 1.0, "enlarged, made": float(made)}
        for name, value in more.items():
            found[name] = found.get(name, 0.0) + value
    return found
