"""Every piece gets its own time, whatever the topology."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from torch import nn

from scaling_lab import DetectorSpec, Topology, count, topologies
from scaling_lab.latency import Conditions, profiling
from scaling_lab.latency.features import features_of
from tests.cost.specs import specs
from tests.latency.tiny import tiny


@settings(max_examples=15)
@given(spec=specs())
def test_pieces_and_features_cover_the_cost(spec: DetectorSpec) -> None:
    cost = count(spec)
    pieces = profiling.pieces_of(spec, cost)
    assert sum(piece.cost.macs for piece in pieces) == cost.macs
    found = features_of(spec, cost)
    assert [piece for piece, _ in found] == pieces
    for piece, features in found:
        assert features["one"] == 1.0
        assert features["macs"] == piece.cost.macs
        assert all(value >= 0 for value in features.values())


@pytest.mark.parametrize(
    "topology",
    [topologies.bifpn(3, 7), topologies.none(3, 7), Topology(3, 6), topologies.fpn(3, 5), topologies.nas_fpn(3, 7)],
    ids=lambda topology: topology.describe(),
)
def test_a_profile_has_a_time_for_each_piece(topology: Topology) -> None:
    spec = tiny(topology=topology)
    taken = profiling.profile(spec, Conditions(), runs=3)
    assert len(taken) == len(profiling.pieces_of(spec, count(spec)))
    assert min(taken) > 0


class _Clock:
    """A time that passes in slow modules alone."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def perf_counter(self) -> float:
        return self.seconds


class _Slow(nn.Module):
    """Takes 30 ms to do what the module does."""

    def __init__(self, module: nn.Module, clock: _Clock) -> None:
        super().__init__()
        self.module, self.clock = module, clock

    def forward(self, *inputs: Any) -> Any:
        self.clock.seconds += 0.03
        return self.module(*inputs)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    found = _Clock()
    monkeypatch.setattr(profiling, "time", found)
    return found


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (lambda detector: (detector, "backbone"), "backbone"),
        (lambda detector: (detector.feature_network, "extra"), "making P6, P7"),
        (lambda detector: (detector.feature_network.cells[1].nodes[2], "convolution"), "cell 2, node 7 (P4)"),
        (lambda detector: (detector.feature_network.cells[0].nodes[7], "fusion"), "cell 1, node 12 (P7)"),
    ],
)
def test_what_is_slow_is_found(monkeypatch: pytest.MonkeyPatch, clock: _Clock, part: Any, name: str) -> None:
    spec = tiny(topology=topologies.bifpn(3, 7), repeats=2)
    make = profiling.detector_for

    def slowed(spec: DetectorSpec, conditions: Conditions) -> Any:
        detector, layer = make(spec, conditions)
        parent, child = part(detector)
        setattr(parent, child, _Slow(getattr(parent, child), clock))
        return detector, layer

    monkeypatch.setattr(profiling, "detector_for", slowed)
    taken = profiling.profile(spec, Conditions(), runs=3)
    pieces = [piece.name for piece in profiling.pieces_of(spec, count(spec))]
    assert taken == pytest.approx([30.0 if piece == name else 0.0 for piece in pieces])


def test_what_is_slow_in_the_heads_is_found_at_every_level(monkeypatch: pytest.MonkeyPatch, clock: _Clock) -> None:
    spec = tiny(topology=topologies.bifpn(3, 7))
    make = profiling.detector_for

    def slowed(spec: DetectorSpec, conditions: Conditions) -> Any:
        detector, layer = make(spec, conditions)
        heads = detector.box_head.convolutions  # of each level
        heads[1] = nn.ModuleList([_Slow(heads[1][0], clock), *heads[1][1:]])
        return detector, layer

    monkeypatch.setattr(profiling, "detector_for", slowed)
    taken = profiling.profile(spec, Conditions(), runs=3)
    pieces = [piece.name for piece in profiling.pieces_of(spec, count(spec))]
    assert taken == pytest.approx([30.0 if piece == "heads P4" else 0.0 for piece in pieces])
