"""Every piece gets its own time, whatever the topology."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from torch import nn

from scaling_lab import DetectorSpec, Topology, count, topologies
from scaling_lab.latency import Conditions, profile
from scaling_lab.latency.features import features_of
from tests.cost.specs import specs
from tests.latency.tiny import tiny


@settings(max_examples=25, deadline=None)
@given(spec=specs())
def test_pieces_and_features_cover_the_cost(spec: DetectorSpec) -> None:
    cost = count(spec)
    pieces = profile.pieces_of(spec, cost)
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
    taken = profile.profile(spec, Conditions(), runs=3)
    assert len(taken) == len(profile.pieces_of(spec, count(spec)))
    assert min(taken) > 0


class _Slow(nn.Module):
    """Waits before it does what the module does."""

    def __init__(self, module: nn.Module, seconds: float) -> None:
        super().__init__()
        self.module, self.seconds = module, seconds

    def forward(self, *inputs: Any) -> Any:
        time.sleep(self.seconds)
        return self.module(*inputs)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (lambda detector: (detector, "backbone"), "backbone"),
        (lambda detector: (detector.feature_network, "extra"), "making P6, P7"),
        (lambda detector: (detector.feature_network.cells[1].nodes[2], "convolution"), "cell 2, node 7 (P4)"),
        (lambda detector: (detector.feature_network.cells[0].nodes[7], "fusion"), "cell 1, node 12 (P7)"),
    ],
)
def test_what_is_slow_is_found(monkeypatch: pytest.MonkeyPatch, part: Any, name: str) -> None:
    spec = tiny(topology=topologies.bifpn(3, 7), repeats=2)
    make = profile.detector_for

    def slowed(spec: DetectorSpec, conditions: Conditions) -> Any:
        detector, layer = make(spec, conditions)
        parent, child = part(detector)
        setattr(parent, child, _Slow(getattr(parent, child), 0.03))
        return detector, layer

    monkeypatch.setattr(profile, "detector_for", slowed)
    taken = profile.profile(spec, Conditions(), runs=3)
    pieces = [piece.name for piece in profile.pieces_of(spec, count(spec))]
    assert taken[pieces.index(name)] >= 30.0
    assert taken[pieces.index(name)] == max(taken)  # the rest by sum would be a statement on how busy the machine is


def test_what_is_slow_in_the_heads_is_found_at_every_level(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tiny(topology=topologies.bifpn(3, 7))
    make = profile.detector_for

    def slowed(spec: DetectorSpec, conditions: Conditions) -> Any:
        detector, layer = make(spec, conditions)
        heads = detector.box_head.convolutions  # of each level
        heads[1] = nn.ModuleList([_Slow(heads[1][0], 0.03), *heads[1][1:]])
        return detector, layer

    monkeypatch.setattr(profile, "detector_for", slowed)
    taken = profile.profile(spec, Conditions(), runs=3)
    pieces = [piece.name for piece in profile.pieces_of(spec, count(spec))]
    assert max(range(len(taken)), key=taken.__getitem__) == pieces.index("heads P4")
    assert taken[pieces.index("heads P4")] >= 30.0
