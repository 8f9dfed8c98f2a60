"""NAS-FPN's space: cells of merging nodes, each with two inputs, a fusion and a level (arXiv:1904.07392, section 3.1).

Choices and rules are those of tensorflow/models, official/vision/modeling/decoders/nasfpn.py, the parser of a cell: some
intermediate nodes, then one output node for each level in any order. NAS-FPN's published cell is a point. For studies of
whether a search finds a better cell than BiFPN: sampler "tpe" or "nsga2" with a limit on gmacs, since a grid is too large.

Size: with two intermediate nodes on P3-P7 there are 10 · 15 · 21 · 28 · 36 · 45 · 55 pairs of inputs; 2^7 fusions, 4^2
intermediate levels and 5! orders of the outputs, in total 1.9e15 points. Many are one graph in several orders, which has
one digest and is trained once: about 1e14 graphs (over 400 random points, the mean of 1 / number of orders is 0.066).
"""

from __future__ import annotations

import dataclasses
from itertools import combinations, permutations
from typing import Any

from scaling_lab import DetectorSpec, Node, Topology
from search_spaces.compound import SMALL


def space(trial: Any, base: DetectorSpec = SMALL.base, intermediate: int = 2) -> DetectorSpec:
    """Return a detector by its cell's nodes; levels (at least two) and all else are the base detector's.

    Nodes are named by their ids, as in drawings; "P4" among a node's inputs is the cell's input at P4.
    """
    levels = base.topology.levels
    cell = Topology(levels[0], levels[-1])
    for _ in range(intermediate):
        # Not at the finest level, where nodes cost most; the released cell has none there.
        level = trial.suggest_int(f"{_word(cell, len(cell.level_of))}_level", levels[1], levels[-1])
        cell = _with_node(trial, cell, level)
    # The order matters, since an output may read earlier outputs: in NAS-FPN's cell P6 reads P7.
    orders = {" ".join(f"P{level}" for level in order): order for order in permutations(levels)}
    for level in orders[trial.suggest_categorical("output_order", list(orders))]:
        cell = _with_node(trial, cell, level, is_output=True)
    return dataclasses.replace(base, topology=cell)


def _with_node(trial: Any, cell: Topology, level: int, *, is_output: bool = False) -> Topology:
    """Add a node that fuses an unordered pair of features; the coarser gates the other, or the older of one level.

    An output also adds every unread feature of its level, as in NAS-FPN, so no node is dangling.
    """
    ids = range(len(cell.level_of))
    name = _word(cell, len(ids))
    pairs = {f"{_word(cell, a)}, {_word(cell, b)}": (a, b) for a, b in combinations(ids, 2)}
    chosen = pairs[trial.suggest_categorical(f"{name}_inputs", list(pairs))]
    fusion = trial.suggest_categorical(f"{name}_fusion", ["sum", "attention_max"])
    inputs = sorted(chosen, key=lambda source: -cell.level_of[source])
    if is_output:
        read = {*chosen, *(source for node in cell.nodes for source in node.inputs)}
        inputs += [source for source in ids if cell.level_of[source] == level and source not in read]
    return dataclasses.replace(cell, nodes=(*cell.nodes, Node(level, tuple(inputs), fusion)))


def _word(cell: Topology, index: int) -> str:
    """Return an input's level or a node's id, as text."""
    return f"P{cell.levels[index]}" if index < cell.num_inputs else f"node{index}"
