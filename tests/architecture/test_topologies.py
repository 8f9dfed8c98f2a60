"""The published topologies against their published node lists (google/automl, effdet, tensorflow/models)."""

from __future__ import annotations

import pytest

from scaling_lab import Topology, topologies
from scaling_lab.architecture.drawing import ascii_drawing, layout
from scaling_lab.architecture.published import PUBLISHED

# google/automl efficientdet/tf2/fpn_configs_test.py: (level, inputs) of every node, ids from the number of levels.
BIFPN_3_7 = [
    (6, [3, 4]),
    (5, [2, 5]),
    (4, [1, 6]),
    (3, [0, 7]),
    (4, [1, 7, 8]),
    (5, [2, 6, 9]),
    (6, [3, 5, 10]),
    (7, [4, 11]),
]
BIFPN_2_7 = [
    (6, [4, 5]),
    (5, [3, 6]),
    (4, [2, 7]),
    (3, [1, 8]),
    (2, [0, 9]),
    (3, [1, 9, 10]),
    (4, [2, 8, 11]),
    (5, [3, 7, 12]),
    (6, [4, 6, 13]),
    (7, [5, 14]),
]
QUAD_3_7 = [
    *BIFPN_3_7,
    (4, [1, 0]),
    (5, [2, 13]),
    (6, [3, 14]),
    (7, [4, 15]),
    (6, [3, 15, 16]),
    (5, [2, 14, 17]),
    (4, [1, 13, 18]),
    (3, [0, 19]),
    (7, [12, 16]),
    (6, [11, 17]),
    (5, [10, 18]),
    (4, [9, 19]),
    (3, [8, 20]),
]
# effdet config/fpn_config.py, panfpn_config.
PANET_3_7 = [
    (7, [4]),
    (6, [3, 5]),
    (5, [2, 6]),
    (4, [1, 7]),
    (3, [0, 8]),
    (3, [9]),
    (4, [8, 10]),
    (5, [7, 11]),
    (6, [6, 12]),
    (7, [5, 13]),
]
# arXiv:1911.09070, section 3.2.
SIMPLIFIED_3_7 = [*BIFPN_3_7[:4], (4, [7, 8]), (5, [6, 9]), (6, [5, 10]), (7, [4, 11])]
FPN_3_7 = [(7, [4]), (6, [3, 5]), (5, [2, 6]), (4, [1, 7]), (3, [0, 8])]
# tensorflow/models nasfpn.py NASFPN_BLOCK_SPECS, with its unused-node rule written out at ids 9 (+ P5) and 10 (+ P7).
NAS_3_7 = [(4, [3, 1]), (4, [1, 5]), (3, [0, 6]), (4, [6, 7]), (5, [8, 7, 2]), (7, [9, 6, 4]), (6, [10, 9])]


@pytest.mark.parametrize(
    ("topology", "published"),
    [
        (topologies.fpn(3, 7), FPN_3_7),
        (topologies.panet(3, 7), PANET_3_7),
        (topologies.simplified_panet(3, 7), SIMPLIFIED_3_7),
        (topologies.bifpn(3, 7), BIFPN_3_7),
        (topologies.bifpn(2, 7), BIFPN_2_7),
        (topologies.quad_fpn(3, 7), QUAD_3_7),
        (topologies.nas_fpn(3, 7), NAS_3_7),
    ],
    ids=["fpn", "panet", "simplified_panet", "bifpn", "bifpn P2-P7", "quad_fpn", "nas_fpn"],
)
def test_the_node_list_is_the_published_one(topology: Topology, published: list[tuple[int, list[int]]]) -> None:
    assert [(node.level, sorted(node.inputs)) for node in topology.nodes] == [(lv, sorted(i)) for lv, i in published]


def test_bifpn_to_p8_is_d7xs() -> None:
    """google/automl, fpn_configs.py, bifpn_config(3, 8): the generator's rule written out."""
    down = [(7, (4, 5)), (6, (3, 6)), (5, (2, 7)), (4, (1, 8)), (3, (0, 9))]
    up = [(4, (1, 9, 10)), (5, (2, 8, 11)), (6, (3, 7, 12)), (7, (4, 6, 13)), (8, (5, 14))]
    assert [(node.level, node.inputs) for node in topologies.bifpn(3, 8).nodes] == down + up


def test_fully_connected_has_two_stages_of_all_to_all() -> None:
    topology = topologies.fully_connected(3, 7)
    assert (len(topology.nodes), topology.num_edges) == (10, 50)
    assert {node.inputs for node in topology.nodes[:5]} == {(0, 1, 2, 3, 4)}
    assert {node.inputs for node in topology.nodes[5:]} == {(5, 6, 7, 8, 9)}


def test_the_baseline_crosses_no_scales_and_all_others_do() -> None:
    assert not topologies.none(3, 7).crosses_scales
    assert all(make(3, 7).crosses_scales for name, make in PUBLISHED.items() if name != "none")


def test_both_published_attentions_of_nas_fpn() -> None:
    """tensorflow/models gates by the coarser input's maximum, mmdetection by the finer one's average."""
    for attention, first_is_coarser in (("max", True), ("avg", False)):
        topology = topologies.nas_fpn(attention=attention)
        gated = [node for node in topology.nodes if node.fusion == f"attention_{attention}"]
        assert len(gated) == 4
        for node in gated:
            first, second = (topology.level_of[source] for source in node.inputs[:2])
            assert (first > second) == first_is_coarser


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("levels", [(2, 6), (3, 5), (3, 7), (3, 8), (4, 5), (2, 8)])
def test_every_topology_at_every_range_is_whole(name: str, levels: tuple[int, int]) -> None:
    if name == "nas_fpn" and levels[1] - levels[0] != 4:
        pytest.skip("NAS-FPN's cell has five levels")
    topology = PUBLISHED[name](*levels)
    assert not topology.dead_nodes
    assert {topology.level_of[output] for output in topology.outputs} == set(range(levels[0], levels[1] + 1))
    assert all(output >= topology.num_inputs for output in topology.outputs)
    # With two levels simplified PANet, BiFPN and others are one graph, which then has one name.
    alike = {
        other for other, make in PUBLISHED.items() if other != "nas_fpn" and make(*levels).digest == topology.digest
    }
    words = topology.describe().split()
    assert words[0] in alike | {name}
    assert words[1] == f"P{levels[0]}-P{levels[1]}"


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_drawing_has_a_place_of_its_own_for_every_id(name: str) -> None:
    topology = PUBLISHED[name](3, 7)
    places = layout(topology)
    assert len({(level, column) for _, level, column in places}) == len(places) == 5 + len(topology.nodes)
    column = {index: column for index, _, column in places}
    assert all(column[n] > column[s] for n in topology.node_ids for s in topology.node(n).inputs if s < 5)
    drawing = ascii_drawing(topology)
    assert [line[:2] for line in drawing.splitlines()] == ["P7", "P6", "P5", "P4", "P3"]
    assert all(f"{n}<" in drawing for n in topology.node_ids)
