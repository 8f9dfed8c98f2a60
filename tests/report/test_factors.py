"""Every way in which two specs can differ has a name, and a topology with its fusion counts as two."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from scaling_lab.architecture import Anchors, DetectorSpec, Topology, topologies
from scaling_lab.architecture.spec import Pixels
from scaling_lab.report.analysis.factors import differing_factors

BASE = DetectorSpec(
    backbone="resnet10t", topology=topologies.panet(3, 7, fusion="sum"), width=32, repeats=2, head_repeats=1,
    image_size=(128, 128), num_classes=4,
)  # fmt: skip
OTHER: dict[str, tuple[Any, list[str]]] = {
    "backbone": ("resnet18", ["backbone"]),
    "topology": (topologies.bifpn(3, 7, fusion="sum"), ["topology"]),
    "width": (48, ["width"]),
    "repeats": (3, ["cells"]),
    "head_repeats": (2, ["head layers"]),
    "image_size": ((128, 192), ["image size"]),
    "num_classes": (5, ["classes"]),
    "anchors": (Anchors(scale=2.0, octave_scales=2), ["anchor scale", "anchor octave scales"]),
    "activation": ("relu", ["activation"]),
    "head_activation": ("relu", ["head activation"]),
    "padding": ("symmetric", ["padding"]),
    "separable": (False, ["kind of convolution"]),
    "bias_before_norm": (False, ["bias before norm"]),
    "norm_before_activation": (True, ["norm before activation"]),
    "downsampling": ("bilinear", ["downsampling"]),
    "upsampling": ("bilinear", ["upsampling"]),
    "backbone_options": ({"channels": [16, 32, 48, 64]}, ["backbone options"]),
    "pixels": (Pixels(fill="black"), ["pixel fill"]),
    "head": ("points", ["head"]),
}


def test_a_spec_differs_from_itself_in_nothing() -> None:
    assert differing_factors(BASE, BASE) == []
    assert differing_factors(BASE, DetectorSpec.from_json(BASE.to_json())) == []


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(DetectorSpec)])
def test_every_field_is_a_factor(name: str) -> None:
    value, factors = OTHER[name]
    assert differing_factors(dataclasses.replace(BASE, **{name: value}), BASE) == factors
    assert differing_factors(BASE, dataclasses.replace(BASE, **{name: value})) == factors


def test_anchors_differ_only_between_heads_that_have_them() -> None:
    wide = dataclasses.replace(BASE, anchors=Anchors(scale=2.0))
    assert differing_factors(wide, dataclasses.replace(BASE, head="points")) == ["head"]


@pytest.mark.parametrize(
    ("first", "second", "factors"),
    [
        (topologies.bifpn(3, 7, fusion="fast"), topologies.panet(3, 7, fusion="sum"), ["topology", "fusion"]),
        (topologies.bifpn(3, 7, fusion="fast"), topologies.bifpn(3, 7, fusion="sum"), ["fusion"]),
        (topologies.nas_fpn(), topologies.panet(3, 7, fusion="sum"), ["topology", "fusion"]),  # its attention
        (topologies.none(), topologies.panet(3, 7), ["topology"]),  # nothing is fused without a feature network
        (topologies.fpn(2, 6), topologies.fpn(3, 7), ["levels"]),
        (topologies.fpn(2, 6), topologies.bifpn(3, 7, fusion="sum"), ["topology", "fusion", "levels"]),
        (topologies.none(3, 7, fusion="fast"), topologies.none(3, 7), ["fusion of single inputs"]),
    ],
)
def test_wiring_fusion_and_levels_are_told_apart(first: Topology, second: Topology, factors: list[str]) -> None:
    assert differing_factors(*(dataclasses.replace(BASE, topology=each) for each in (first, second))) == factors


def test_one_node_that_fuses_otherwise_is_a_difference_in_fusion() -> None:
    topology = topologies.bifpn(3, 7, fusion="sum")
    mixed = dataclasses.replace(
        topology, nodes=(dataclasses.replace(topology.nodes[0], fusion="fast"), *topology.nodes[1:])
    )
    swapped = dataclasses.replace(
        topology, nodes=(topology.nodes[0], dataclasses.replace(topology.nodes[1], fusion="fast"), *topology.nodes[2:])
    )
    specs = [dataclasses.replace(BASE, topology=each) for each in (topology, mixed, swapped)]
    assert differing_factors(specs[0], specs[1]) == ["fusion"]
    assert differing_factors(specs[1], specs[2]) == ["fusion"]  # the same kinds, elsewhere


def test_another_backbone_has_its_own_options() -> None:
    other = dataclasses.replace(BASE, backbone="resnet18", backbone_options={"channels": [16, 32, 48, 64]})
    assert differing_factors(other, BASE) == ["backbone"]
