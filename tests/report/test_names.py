"""Short names say what architectures differ in, and no two are alike."""

from __future__ import annotations

import dataclasses

from scaling_lab.architecture import DetectorSpec, Node, Topology, efficientdet, topologies
from scaling_lab.report.analysis.architecture_names import short_names, topology_name


def names(*specs: DetectorSpec) -> list[str]:
    return list(short_names({spec.digest: spec for spec in specs}).values())


def with_topology(topology: Topology) -> DetectorSpec:
    return dataclasses.replace(efficientdet("d0"), topology=topology)


def test_only_what_differs_is_named() -> None:
    assert names(with_topology(topologies.bifpn(3, 7)), with_topology(topologies.none(3, 7))) == [
        "BiFPN",
        "Unconnected levels",
    ]


def test_fusion_is_named_where_it_tells_apart() -> None:
    found = names(
        with_topology(topologies.bifpn(3, 7, fusion="fast")), with_topology(topologies.bifpn(3, 7, fusion="sum"))
    )
    assert found == ["fast", "sum"]
    more = names(
        *(with_topology(topologies.bifpn(3, 7, fusion=f)) for f in ("fast", "sum")), with_topology(topologies.fpn(3, 7))
    )
    assert more == ["BiFPN, fast", "BiFPN, sum", "FPN"]


def test_widths_and_a_single_architecture() -> None:
    d0 = efficientdet("d0")
    assert names(d0, dataclasses.replace(d0, width=88)) == ["width 64", "width 88"]
    assert names(d0) == ["BiFPN"]
    assert names() == []


def test_the_kind_of_head_is_named_where_it_differs() -> None:
    d0 = efficientdet("d0")
    points = dataclasses.replace(d0, head="points")
    assert names(d0, points) == ["anchors", "points"]
    assert names(points, dataclasses.replace(points, width=88)) == ["width 64", "width 88"]


def test_what_most_share_is_not_named() -> None:
    bifpn, fpn, panet = (with_topology(getattr(topologies, name)(3, 7)) for name in ("bifpn", "fpn", "panet"))
    found = names(bifpn, dataclasses.replace(fpn, repeats=2 * fpn.repeats), panet)
    assert found == ["BiFPN", f"FPN, ×{2 * fpn.repeats}", "PANet"]
    wide = dataclasses.replace(bifpn, width=88)
    assert names(bifpn, wide, dataclasses.replace(wide, backbone="resnet10t")) == ["width 64", "base", "resnet10t"]


def test_names_are_never_alike() -> None:
    d0 = efficientdet("d0")
    found = names(d0, dataclasses.replace(d0, activation="relu"), dataclasses.replace(d0, width=88))
    assert len(set(found)) == 3


def test_a_topology_without_a_name_has_its_digest() -> None:
    topology = Topology(3, 4, (Node(4, (0, 1), "sum"), Node(3, (0, 2), "sum"), Node(4, (2, 3), "sum")))
    assert topology_name(topology) == f"custom {topology.digest[:6]}"
