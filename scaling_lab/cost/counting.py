"""Counts a spec as the sum of its pieces, which are derived from the modules themselves, and its memory as model/ uses it.

Formulas are kept: a backbone's for each (name, levels), a piece's for each form of a module. tests/cost/test_counting.py
compares the sums with whole detectors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from operator import attrgetter
from typing import NamedTuple

from scaling_lab.architecture.node import Node
from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.cost.backbone_counts import Shapes3, count_backbone
from scaling_lab.cost.counts import Cost, LevelCost, PartCost, total
from scaling_lab.cost.network_pieces import Pieces, fusion
from scaling_lab.cost.pieces import BYTES, PartMemory, Piece
from scaling_lab.model.layers import next_size

# All fields of a spec affect the modules of feature network and heads, except those passed for each piece and those
# listed here. A new field therefore counts by default.
_ASKED = ("topology", "repeats", "head_repeats", "num_classes", "anchors", "head")
_OTHERS = ("backbone", "backbone_options", "image_size", "pixels", "width")
_style = attrgetter(*[f.name for f in dataclasses.fields(DetectorSpec) if f.name not in (*_ASKED, *_OTHERS)])


# How many are kept, each for one width and one set of feature shapes.
MOST_COUNTERS = 100

# An input of a node: its level and number of channels.
Kind = tuple[int, int]


class CountedNode(NamedTuple):
    """A node's cost; the bytes of its weights, of its peak, and of its output."""

    cost: LevelCost
    weights: int
    peak: int
    output: int


class _Projected(NamedTuple):
    """A projection of a level's feature to the width: its cost, and bytes."""

    params: int
    macs: int
    activations: int
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


# --- feature network and heads ---------------------------------------------------------------------------------------


class Counter:
    """Counts specs of equal style, width, levels and backbone feature shapes."""

    def __init__(self, pieces: Pieces, spec: DetectorSpec, features: Shapes3) -> None:
        self._pieces, self._width = pieces, spec.width
        topology = spec.topology
        self._sizes = {level: shape[1:] for level, shape in zip(topology.levels, features, strict=False)}
        self._after_fusion = pieces.after_fusion(spec.width)
        self._fusions: dict[tuple[str, int], Piece] = {}
        self._projections: dict[tuple[int, int], _Projected] = {}
        self._resamplings: dict[tuple[int, int], tuple[int, int]] = {}
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
        channels = self._inputs[-1][1]
        self._sizes[level] = next_size(*self._sizes[level - 1])
        before = sum(self._held)
        cost, projected = LevelCost(params=0, macs=0, activations=0, level=level, kind="level"), 0
        if is_raw and channels != self._width:
            made = self._projection(level - 1, channels)
            cost, projected = _cost_of(made, level=level, kind="level"), made.output
            self._peak = max(self._peak, before + made.peak)
            self._weights += made.weights
        peak, left = self._resampled(level - 1, level)
        self._peak = max(self._peak, before + projected + peak)
        self._made.append(cost)
        self._inputs.append((level, self._width))
        self._held.append(left)

    def _projection(self, level: int, channels: int) -> _Projected:
        known = self._projections.get((level, channels))
        if known is None:
            piece, (height, width) = self._pieces.projection(channels, self._width), self._sizes[level]
            positions = height * width
            known = self._projections[level, channels] = _Projected(
                params=piece.params,
                macs=piece.macs.at(positions),
                activations=piece.activations.at(positions),
                weights=piece.weights,
                peak=piece.peak(positions),
                output=piece.left.at(positions),
            )
        return known

    def _resampled(self, source: int, target: int) -> tuple[int, int]:
        """Return the bytes alive while a feature of the width is resampled: at the peak, and at the end."""
        known = self._resamplings.get((source, target))
        if known is None:
            peak, left = self._pieces.resampled(self._sizes[source], self._sizes[target])
            known = self._resamplings[source, target] = (self._width * peak, self._width * left)
        return known

    def _fusion(self, kind: str, inputs: int) -> Piece:
        if (kind, inputs) not in self._fusions:
            self._fusions[kind, inputs] = fusion(kind, inputs, self._width)
        return self._fusions[kind, inputs]

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
                made = self._projection(level, channels)
                pieces.append(_cost_of(made, level=level, kind="output"))
                weights += made.weights
                peak = max(peak, alive + made.peak)
                alive += made.output
        return pieces, PartMemory(weights=weights, peak=peak, outputs=self._output_bytes)

    def _node(self, node: Node, inputs: tuple[Kind, ...]) -> CountedNode:
        key = (node.level, node.fusion, inputs)
        if key not in self._nodes:
            self._nodes[key] = self._count_node(*key)
        return self._nodes[key]

    def _count_node(self, level: int, kind: str, inputs: tuple[Kind, ...]) -> CountedNode:
        """Count FusionNode.forward: projections are alive until its end, resampled features until the fusion."""
        positions = self._positions[level]
        params = macs = activations = weights = projected = peak = 0
        for source, channels in inputs:
            if channels != self._width:
                made = self._projection(source, channels)
                params, macs, activations = params + made.params, macs + made.macs, activations + made.activations
                weights += made.weights
                peak = max(peak, projected + made.peak)
                projected += made.output
        alive = projected
        for source, _ in inputs:
            most, left = self._resampled(source, level)
            peak = max(peak, alive + most)
            alive += left
        fused, then = self._fusion(kind, len(inputs)), self._after_fusion
        peak = max(peak, alive + fused.peak(positions))
        # A sum of one input is the input itself.
        result = fused.left.at(positions)
        peak = max(peak, (projected + result if result else alive) + then.peak(positions))
        cost = LevelCost(
            params=params + fused.params + then.params,
            macs=macs + fused.macs.at(positions) + then.macs.at(positions),
            activations=activations + fused.activations.at(positions) + then.activations.at(positions),
            level=level,
            kind="node",
        )
        return CountedNode(cost, weights + fused.weights + then.weights, peak, then.left.at(positions))

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
                macs=sum(piece.macs.at(positions) for piece in both),
                activations=sum(piece.activations.at(positions) for piece in both),
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
        predicted = values * spec.boxes_per_position
        piece, own = self._pieces.head(spec.head_repeats, spec.topology.num_inputs, predicted, self._width)
        peak = outputs = 0
        for positions in self._positions.values():
            peak = max(peak, outputs + piece.peak(positions))
            outputs += piece.left.at(positions)
        return piece, own, PartMemory(weights=piece.weights, peak=peak, outputs=outputs)


def _cost_of(made: _Projected, *, level: int, kind: str) -> LevelCost:
    return LevelCost(params=made.params, macs=made.macs, activations=made.activations, level=level, kind=kind)


_pieces: dict[Hashable, Pieces] = {}
_counters: dict[Hashable, Counter] = {}


def _counter(spec: DetectorSpec, features: Shapes3) -> Counter:
    style = _style(spec)
    key = (style, spec.width, features, spec.topology.min_level, spec.topology.max_level)
    if key not in _counters:
        if style not in _pieces:
            _pieces[style] = Pieces(spec)
        if len(_counters) >= MOST_COUNTERS:
            del _counters[next(iter(_counters))]  # the oldest
        _counters[key] = Counter(_pieces[style], spec, features)
    return _counters[key]
