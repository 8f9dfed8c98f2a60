"""Where a detector's time goes: the backbone, each node, and the heads at each level, for an eager network.

Marks at the ends of modules separate the pieces, which add up to the total. A mark takes about 2 us.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.cost import Cost, PartCost
from scaling_lab.cost.counts import total
from scaling_lab.latency.conditions import Conditions
from scaling_lab.latency.contestants import detector_for, images_for, wait
from scaling_lab.model.detector import Detector

RUNS = 30


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece of a detector in a profile, and its cost.

    `kind` is backbone, levels (those that the backbone lacks), node, outputs (resampled to the width) or heads (both, at
    one level).
    """

    name: str
    kind: str
    cost: PartCost


def pieces_of(spec: DetectorSpec, cost: Cost) -> list[Piece]:
    """Return the pieces in order of execution, with box and class head of a level as one."""
    by_kind = {
        kind: [each for each in cost.pieces if each.kind == kind] for kind in ("level", "node", "output", "heads")
    }
    pieces = [Piece(name="backbone", kind="backbone", cost=cost.backbone)]
    if by_kind["level"]:
        levels = ", ".join(f"P{each.level}" for each in by_kind["level"])
        pieces.append(Piece(name=f"making {levels}", kind="levels", cost=total(by_kind["level"])))
    ids = [(cell, node_id) for cell in range(1, spec.repeats + 1) for node_id in spec.topology.node_ids]
    for (cell, node_id), each in zip(ids, by_kind["node"], strict=True):
        pieces.append(Piece(name=f"cell {cell}, node {node_id} (P{each.level})", kind="node", cost=each))
    if by_kind["output"]:
        pieces.append(Piece(name="outputs", kind="outputs", cost=total(by_kind["output"])))
    return pieces + [Piece(name=f"heads P{each.level}", kind="heads", cost=each) for each in by_kind["heads"]]


def profile(spec: DetectorSpec, conditions: Conditions, *, runs: int = RUNS) -> list[float]:
    """Return the median milliseconds of each of `pieces_of`, after as many warm-up runs, in this process's threads."""
    detector, images = detector_for(spec, conditions)[0], images_for(spec, conditions)
    taken: list[list[float]] = []
    with torch.inference_mode(), _marked(detector, conditions) as marks:
        for number in range(2 * runs):
            marks.clear()
            marks.mark(None)
            detector(images)
            wait(conditions.device)
            if number >= runs:
                taken.append(_by_piece(spec, marks.names[1:], marks.milliseconds()))
    return [statistics.median(times) for times in zip(*taken, strict=True)]


def _by_piece(spec: DetectorSpec, names: Sequence[Any], milliseconds: Sequence[float]) -> list[float]:
    """Sum the times of each piece, in order of first execution."""
    added: dict[Any, float] = {}
    for name, each in zip(names, milliseconds, strict=True):
        added[name] = added.get(name, 0.0) + each
    added.pop(None, None)
    levels, outputs = added.pop("levels", 0.0), added.pop("outputs", 0.0)
    given = [name for name in added if name != "backbone"]
    nodes, heads = [n for n in given if n[0] == "node"], [n for n in given if n[0] == "heads"]
    return [
        added["backbone"],
        *([levels] if "levels" in names else []),
        *(added[name] for name in nodes),
        *([outputs] if "outputs" in names else []),
        *(added[name] for name in heads),
    ]


class _Marks:
    """End times of pieces, by the device's clock."""

    def __init__(self, device: str) -> None:
        self._device, self._is_cuda = device, device.startswith("cuda")
        self.names: list[Any] = []
        self._times: list[Any] = []

    def clear(self) -> None:
        self.names, self._times = [], []

    def mark(self, name: Any) -> None:
        self.names.append(name)
        if self._is_cuda:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self._times.append(event)
        else:
            wait(self._device)  # a CPU has finished already
            self._times.append(time.perf_counter())

    def milliseconds(self) -> list[float]:
        """Return the time from each mark to the next."""
        pairs = itertools.pairwise(self._times)
        if self._is_cuda:
            return [float(before.elapsed_time(after)) for before, after in pairs]
        return [1e3 * (after - before) for before, after in pairs]


@contextmanager
def _marked(detector: Detector, conditions: Conditions) -> Iterator[_Marks]:
    """Mark the end of each piece within the context."""
    marks = _Marks(conditions.device)
    network = detector.feature_network
    handles = [detector.backbone.register_forward_hook(lambda *_: marks.mark("backbone"))]
    missing = network.spec.topology.num_inputs > network.num_given
    if missing:
        handles.append(network.cells[0].register_forward_pre_hook(lambda *_: marks.mark("levels")))

    def ends(module: nn.Module, name: Callable[[], Any]) -> None:
        handles.append(module.register_forward_hook(lambda *_: marks.mark(name())))

    for cell_index, cell in enumerate(network.cells):
        for node_index, node in enumerate(cell.nodes):  # type: ignore[arg-type]
            ends(node, lambda key=("node", cell_index, node_index): key)  # type: ignore[misc]
    projects = any(not isinstance(module, nn.Identity) for module in network.outputs)
    ends(network, lambda: "outputs" if projects else None)
    for head in (detector.class_head, detector.box_head):
        levels = _Counting(len(network.outputs))
        ends(head.predict, lambda levels=levels: ("heads", levels.next()))  # type: ignore[misc]
    try:
        yield marks
    finally:
        for handle in handles:
            handle.remove()


class _Counting:
    """Cycles through 0 to `size` - 1, since a head's prediction runs once for each level."""

    def __init__(self, size: int) -> None:
        self._size, self._now = size, -1

    def next(self) -> int:
        self._now = (self._now + 1) % self._size
        return self._now
