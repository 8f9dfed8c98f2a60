"""The sums over pieces against whole detectors: torch's own counter and what is alive, over any topology, backbone and size."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from torch.utils.flop_counter import FlopCounterMode

from scaling_lab import DetectorSpec, build, count, topologies
from scaling_lab.architecture.fusions import FUSIONS
from scaling_lab.cost.counts import PartCost
from scaling_lab.cost.pieces import Run, run
from search_spaces.compound import SMALL
from tests.cost.specs import DRAWN, specs


def whole(spec: DetectorSpec) -> tuple[dict[str, Run], list[int], int]:
    """Run the parts of the built detector on the meta device, each as a whole.

    Give torch's counts of the multiply-adds of its nodes and of all too.
    """
    with torch.device("meta"):
        detector = build(spec).eval()
        image = torch.empty(1, 3, *spec.image_size)
        backbone = run(detector.backbone, image)
        network = run(detector.feature_network, list(backbone.outputs))
        classes, boxes = (run(head, list(network.outputs)) for head in (detector.class_head, detector.box_head))
        with torch.no_grad(), FlopCounterMode(display=False, depth=4) as counter:
            detector(image)
    counts = counter.get_flop_counts()
    nodes = [
        sum(counts.get(f"Detector.feature_network.cells.{cell}.nodes.{node}", {}).values()) // 2
        for cell in range(spec.repeats)
        for node in range(len(spec.topology.nodes))
    ]
    return (
        {"backbone": backbone, "feature_network": network, "classes": classes, "boxes": boxes},
        nodes,
        counter.get_total_flops() // 2,
    )


def held(counted: Run) -> int:
    return sum(4 * x.numel() for x in counted.outputs)


def cost(*parts: Run) -> PartCost:
    return PartCost(
        params=sum(part.params for part in parts),
        macs=sum(part.macs for part in parts),
        activations=sum(part.activations for part in parts),
    )


@pytest.mark.parametrize("examples", [3, pytest.param(80, marks=pytest.mark.long)])
def test_the_sum_over_pieces_is_the_count_of_the_whole(examples: int) -> None:
    settings(max_examples=examples)(given(specs())(assert_counted_as_built))()


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("separable", [True, False])
def test_every_fusion_is_counted_as_it_is_built(fusion: str, separable: bool) -> None:
    assert_counted_as_built(
        dataclasses.replace(SMALL.base, topology=topologies.bifpn(3, 7, fusion), repeats=2, separable=separable)
    )


@pytest.mark.parametrize("head_repeats", [0, 3])
def test_a_head_of_points_is_counted_as_it_is_built(head_repeats: int) -> None:
    anchors = dataclasses.replace(SMALL.base, head_repeats=head_repeats)
    points = dataclasses.replace(anchors, head="points")
    for spec in (anchors, points):
        assert_counted_as_built(spec)
    # 8 anchors fewer at each of 341 positions, with (90 classes + 4) * 32 weights each.
    assert count(anchors).macs - count(points).macs == 341 * 8 * 94 * 32


def test_torchs_default_type_changes_nothing() -> None:
    spec = dataclasses.replace(SMALL.base, width=37, image_size=(70, 81))  # that no other test has counted
    torch.set_default_dtype(torch.float64)
    try:
        counted = count(spec)
    finally:
        torch.set_default_dtype(torch.float32)
    assert_counted_as_built(spec)
    assert count(spec) == counted


def test_every_field_of_a_spec_is_compared_or_costs_nothing() -> None:
    assert {f.name for f in dataclasses.fields(DetectorSpec)} == DRAWN | {"backbone_options", "pixels"}


def assert_counted_as_built(spec: DetectorSpec) -> None:
    counted = count(spec)
    parts, nodes, macs = whole(spec)
    assert counted.macs == macs
    backbone, network, classes, boxes = parts.values()
    assert counted.backbone == cost(backbone)
    assert counted.feature_network == cost(network)
    assert counted.heads == cost(classes, boxes)
    assert [node.macs for node in counted.nodes] == nodes
    assert [node.level for node in counted.nodes] == [node.level for node in spec.topology.nodes] * spec.repeats
    image = 4 * 3 * spec.image_size[0] * spec.image_size[1]
    peaks = (
        backbone.peak,
        held(backbone) + network.peak,
        held(network) + classes.peak,
        held(network) + held(classes) + boxes.peak,
    )
    assert counted.activation_memory == image + max(peaks)
    assert counted.memory - counted.activation_memory == sum(part.weights for part in parts.values())
