"""Counts a spec as the sum of its pieces, which pieces.py counts on the modules themselves, and its memory as model/ uses it.

Counts are cached: the backbone's for each (name, levels, image size), a piece for each form of a module, a node for each
set of inputs. tests/cost/test_counting.py compares the sums with whole detectors.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

import torch
from torch import nn

from scaling_lab.architecture.node import Node
from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.cost.counts import Cost, LevelCost, PartCost, total
from scaling_lab.cost.pieces import Piece, Pieces, Run, on_meta, run
from scaling_lab.errors import UserError, first_line
from scaling_lab.model.backbone import make_backbone
from scaling_lab.model.layers import next_size

# The shape (C, H, W) of each backbone feature, finest first.
Shapes3 = tuple[tuple[int, int, int], ...]

BYTES = 4  # in a float32

# All fields of a spec affect the modules of feature network and heads, except those passed for each piece and those
# listed here. A new field therefore counts by default.
_ASKED = ("topology", "repeats", "head_repeats", "num_classes", "anchors", "head")
_OTHERS = ("backbone", "backbone_options", "image_size", "pixels")
_style = attrgetter(*[f.name for f in dataclasses.fields(DetectorSpec) if f.name not in (*_ASKED, *_OTHERS)])


@dataclass(frozen=True, kw_only=True)
class PartMemory:
    """Bytes of one part: its weights and buffers, its peak besides the inputs, and its outputs."""

    weights: int
    peak: int
    outputs: int


# An input of a node: its level and number of channels.
Kind = tuple[int, int]


class CountedNode(NamedTuple):
    """A node's cost; the bytes of its weights, of its peak, and of its output."""

    cost: LevelCost
    weights: int
    peak: int
    output: int


class CountedHeads(NamedTuple):
    """Costs of both heads, in total and by level; memory of the class head and the box head."""

    cost: PartCost
    pieces: tuple[LevelCost, ...]
    memories: tuple[PartMemory, PartMemory]


def count_spec(spec: DetectorSpec) -> Cost:
    """Return the cost of a spec; see `counts.count`."""
    backbone, backbone_memory, features = count_backbone(spec)
    counter = _counter(spec, features)
    pieces, network_memory = counter.feature_network(spec)
    heads, head_pieces, (classes, boxes) = counter.heads(spec)
    image = BYTES * 3 * spec.image_size[0] * spec.image_size[1]
    # In model/detector.py's order: the class head, then the box head, both on the network's outputs.
    activation_memory = image + max(
        backbone_memory.peak,
        backbone_memory.outputs + network_memory.peak,
        network_memory.outputs + classes.peak,
        network_memory.outputs + classes.outputs + boxes.peak,
    )
    weights = backbone_memory.weights + network_memory.weights + classes.weights + boxes.weights
    network = total(pieces)
    return Cost(
        **total((backbone, network, heads)).numbers(),
        memory=weights + activation_memory,
        activation_memory=activation_memory,
        backbone=backbone,
        feature_network=network,
        heads=heads,
        pieces=(*pieces, *head_pieces),
    )


# --- backbone --------------------------------------------------------------------------------------------------------


def count_backbone(spec: DetectorSpec) -> tuple[PartCost, PartMemory, Shapes3]:
    """Return cost, memory and feature shapes of the backbone, up to the topology's levels."""
    options = json.dumps(spec.backbone_options, sort_keys=True) if spec.backbone_options else "{}"
    return _count_backbone(spec.backbone, options, spec.topology.min_level, spec.topology.max_level, spec.image_size)


@lru_cache(maxsize=1024)
def _count_backbone(
    name: str, options: str, min_level: int, max_level: int, image_size: tuple[int, int]
) -> tuple[PartCost, PartMemory, Shapes3]:
    backbone = _backbone(name, options, min_level, max_level)
    try:
        with on_meta():
            counted = run(backbone, torch.empty(1, 3, *image_size))
    except Exception as error:  # any error of the backbone's code
        raise UserError(
            f"the backbone {name} cannot be counted at {image_size[0]}x{image_size[1]}: {first_line(error)} (it is run on shapes "
            "only, so its code must not read tensor values)"
        ) from error
    shapes = tuple((x.shape[1], x.shape[2], x.shape[3]) for x in counted.outputs)
    return _cost(counted), _memory(counted), shapes


@lru_cache(maxsize=16)  # for spaces with many image sizes
def _backbone(name: str, options: str, min_level: int, max_level: int) -> nn.Module:
    with on_meta():
        return make_backbone(name, min_level, max_level, **json.loads(options))[0].eval()


def _cost(counted: Run) -> PartCost:
    return PartCost(params=counted.params, macs=counted.macs, activations=counted.activations)


def _memory(counted: Run) -> PartMemory:
    outputs = sum(BYTES * x.numel() for x in counted.outputs)
    return PartMemory(weights=counted.weights, peak=counted.peak, outputs=outputs)


# --- feature network and heads ---------------------------------------------------------------------------------------


class Counter:
    """Counts specs of equal style, levels and backbone feature shapes."""

    def __init__(self, pieces: Pieces, spec: DetectorSpec, features: Shapes3) -> None:
        self._pieces, self._width = pieces, spec.width
        topology = spec.topology
        self._sizes = {level: shape[1:] for level, shape in zip(topology.levels, features, strict=False)}
        self._nodes: dict[tuple[int, str, tuple[Kind, ...]], CountedNode] = {}
        self._heads: dict[tuple[int, int, int], CountedHeads] = {}
        self._inputs: list[Kind] = [(topology.min_level + index, shape[0]) for index, shape in enumerate(features)]
        self._made: list[LevelCost] = []  # projections and pooling of levels that the backbone lacks
        self._held = [0] * len(features)  # besides the backbone's features
        self._weights = self._peak = 0
        for level in topology.levels[len(features) :]:
            self._add_level(level, is_raw=not self._made)
        self._positions = {level: height * width for level, (height, width) in self._sizes.items()}
        self._output_bytes = sum(BYTES * self._width * positions for positions in self._positions.values())

    def _add_level(self, level: int, *, is_raw: bool) -> None:
        """FeatureNetwork._next_level."""
        source, channels = self._sizes[level - 1], self._inputs[-1][1]
        self._sizes[level] = next_size(*source)
        before = sum(self._held)
        cost, projected = LevelCost(params=0, macs=0, activations=0, level=level, kind="level"), 0
        if is_raw and channels != self._width:
            cost, peak, projected, weights = self._projection(channels, source, level=level, kind="level")
            self._peak = max(self._peak, before + peak)
            self._weights += weights
        peak, left = self._pieces.resampled(source, self._sizes[level])
        self._peak = max(self._peak, before + projected + self._width * peak)
        self._made.append(cost)
        self._inputs.append((level, self._width))
        self._held.append(self._width * left)

    def _projection(
        self, channels: int, size: tuple[int, int], *, level: int, kind: str
    ) -> tuple[LevelCost, int, int, int]:
        """Return a projection's cost, and the bytes of its peak, output and weights."""
        piece, positions = self._pieces.projection(channels), size[0] * size[1]
        cost = LevelCost(
            params=piece.params,
            macs=piece.macs * positions,
            activations=piece.activations * positions,
            level=level,
            kind=kind,
        )
        return cost, piece.peak(positions), piece.left * positions, piece.weights

    # --- feature network

    def feature_network(self, spec: DetectorSpec) -> tuple[list[LevelCost], PartMemory]:
        """Return the costs of FeatureNetwork's pieces in order of execution, and its memory."""
        nodes, outputs = spec.topology.nodes, spec.topology.outputs
        pieces, weights, peak = list(self._made), self._weights, self._peak
        inputs, held, left = self._inputs, self._held, spec.repeats
        while left:
            # Cell.forward: a cell's inputs and results are alive until its end.
            kinds, sizes, alive = list(inputs), list(held), sum(held)
            cell, cell_weights = [], 0
            for node in nodes:
                counted = self._node(node, tuple([kinds[source] for source in node.inputs]))
                cell.append(counted.cost)
                cell_weights += counted.weights
                peak = max(peak, alive + counted.peak)
                alive += counted.output
                kinds.append((node.level, self._width))
                sizes.append(counted.output)
            after, after_held = [kinds[output] for output in outputs], [sizes[output] for output in outputs]
            # A cell whose output shapes equal its input shapes is followed by equal cells.
            times = left if (after, after_held) == (inputs, held) else 1
            pieces += cell * times
            weights += cell_weights * times
            inputs, held, left = after, after_held, left - times
        alive = sum(held)
        for level, channels in inputs:
            if channels != self._width:
                cost, most, output, own = self._projection(channels, self._sizes[level], level=level, kind="output")
                pieces.append(cost)
                weights += own
                peak = max(peak, alive + most)
                alive += output
        return pieces, PartMemory(weights=weights, peak=peak, outputs=self._output_bytes)

    def _node(self, node: Node, inputs: tuple[Kind, ...]) -> CountedNode:
        key = (node.level, node.fusion, inputs)
        if key not in self._nodes:
            self._nodes[key] = self._count_node(*key)
        return self._nodes[key]

    def _count_node(self, level: int, kind: str, inputs: tuple[Kind, ...]) -> CountedNode:
        """Count FusionNode.forward: projections are alive until its end, resampled features until the fusion."""
        pieces, size, positions = self._pieces, self._sizes[level], self._positions[level]
        params = macs = activations = weights = projected = peak = 0
        for source, channels in inputs:
            if channels != self._width:
                cost, most, left, own = self._projection(channels, self._sizes[source], level=level, kind="node")
                params, macs, activations = params + cost.params, macs + cost.macs, activations + cost.activations
                weights += own
                peak = max(peak, projected + most)
                projected += left
        alive = projected
        for source, _ in inputs:
            most, left = pieces.resampled(self._sizes[source], size)
            peak = max(peak, alive + self._width * most)
            alive += self._width * left
        fusion, then = pieces.fusion(kind, len(inputs)), pieces.after_fusion
        peak = max(peak, alive + fusion.peak(positions))
        # A sum of one input is the input itself.
        fused = projected + fusion.left * positions if fusion.left else alive
        peak = max(peak, fused + then.peak(positions))
        cost = LevelCost(
            params=params + fusion.params + then.params,
            macs=macs + (fusion.macs + then.macs) * positions,
            activations=activations + (fusion.activations + then.activations) * positions,
            level=level,
            kind="node",
        )
        return CountedNode(cost, weights + fusion.weights + then.weights, peak, then.left * positions)

    # --- heads

    def heads(self, spec: DetectorSpec) -> CountedHeads:
        """Return the counts of both heads (model/heads.py)."""
        key = (spec.head_repeats, spec.num_classes, spec.boxes_per_position)
        if key not in self._heads:
            self._heads[key] = self._count_heads(spec)
        return self._heads[key]

    def _count_heads(self, spec: DetectorSpec) -> CountedHeads:
        heads = [self._count_head(spec, values) for values in (spec.num_classes, 4)]
        both = [piece for piece, _, _ in heads]
        pieces = tuple(
            LevelCost(
                params=sum(own for _, own, _ in heads),
                macs=sum(piece.macs for piece in both) * positions,
                activations=sum(piece.activations for piece in both) * positions,
                level=level,
                kind="heads",
            )
            for level, positions in self._positions.items()
        )
        cost = PartCost(
            params=sum(piece.params for piece in both),
            macs=sum(piece.macs for piece in pieces),
            activations=sum(piece.activations for piece in pieces),
        )
        return CountedHeads(cost, pieces, (heads[0][2], heads[1][2]))

    def _count_head(self, spec: DetectorSpec, values: int) -> tuple[Piece, int, PartMemory]:
        """Return a head at one level, its number of parameters by level, and the memory of all levels."""
        piece, own = self._pieces.head(spec, values)
        peak = outputs = 0
        for positions in self._positions.values():
            peak = max(peak, outputs + piece.peak(positions))
            outputs += piece.left * positions
        return piece, own, PartMemory(weights=piece.weights, peak=peak, outputs=outputs)


_pieces: dict[Hashable, Pieces] = {}
_counters: dict[Hashable, Counter] = {}


def _counter(spec: DetectorSpec, features: Shapes3) -> Counter:
    style = _style(spec)
    key = (style, features, spec.topology.min_level, spec.topology.max_level)
    if key not in _counters:
        if style not in _pieces:
            _pieces[style] = Pieces(spec)
        _counters[key] = Counter(_pieces[style], spec, features)
    return _counters[key]
