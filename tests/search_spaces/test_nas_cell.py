"""NAS-FPN's space: its published cell, every point a detector, one digest for a graph written twice."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from scaling_lab import DetectorSpec, topologies
from scaling_lab.study.space.enumeration import enumerate_space
from search_spaces.compound import SMALL
from search_spaces.nas_cell import space
from tests.search_spaces.drawing import Drawn

# tensorflow/models, official/vision/modeling/decoders/nasfpn.py, NASFPN_BLOCK_SPECS: ids 0-4 are P3-P7.
PUBLISHED = {
    "node5_level": 4,
    "node5_inputs": "P4, P6",
    "node5_fusion": "attention_max",
    "node6_level": 4,
    "node6_inputs": "P4, node5",
    "node6_fusion": "sum",
    "output_order": "P3 P4 P5 P7 P6",
    "node7_inputs": "P3, node6",
    "node7_fusion": "sum",
    "node8_inputs": "node6, node7",
    "node8_fusion": "sum",
    "node9_inputs": "node7, node8",
    "node9_fusion": "attention_max",
    "node10_inputs": "node6, node9",
    "node10_fusion": "attention_max",
    "node11_inputs": "node9, node10",
    "node11_fusion": "attention_max",
}


def at(**changes: Any) -> DetectorSpec:
    """The published point with other choices."""
    return space(FixedTrial({**PUBLISHED, **changes}))


def detector(low: int, high: int) -> DetectorSpec:
    return dataclasses.replace(SMALL.base, topology=topologies.none(low, high))


def test_the_published_cell_is_a_point() -> None:
    assert at().topology.digest == topologies.nas_fpn(3, 7).digest
    assert at() == dataclasses.replace(SMALL.base, topology=at().topology)


def test_an_output_adds_what_nothing_reads_of_its_level() -> None:
    """The published cell says nowhere that P5 and P7 are read: the rule adds them, after the two that are gated."""
    cell = at().topology
    assert [cell.node(index).inputs for index in (9, 10)] == [(8, 7, 2), (9, 6, 4)]
    unread = at(
        node6_inputs="P3, P4", node7_inputs="P3, P6", node8_inputs="P6, node7", node10_inputs="P3, node9"
    ).topology
    assert set(unread.node(8).inputs) == {3, 7, 5, 6}


def test_the_coarser_input_gates_and_of_one_level_the_older() -> None:
    inputs = {"P4, P6": (3, 1), "P6, P7": (4, 3), "P3, P4": (1, 0)}
    for words, ids in inputs.items():
        assert at(node5_inputs=words).topology.node(5).inputs == ids
    assert at(node6_fusion="attention_max").topology.node(6).inputs == (1, 5)


def test_two_points_that_are_one_graph_have_one_digest() -> None:
    one = at(node5_inputs="P5, P6", node5_fusion="sum", node6_inputs="P3, P4", node7_inputs="P3, node6")
    other = at(
        node5_inputs="P3, P4",
        node5_fusion="sum",
        node6_inputs="P5, P6",
        node7_inputs="P3, node5",
        node8_inputs="node5, node7",
        node10_inputs="node5, node9",
    )
    assert one != other
    assert one.digest == other.digest


def test_outputs_that_do_not_read_each_other_may_be_made_in_either_order() -> None:
    apart = {"node8_inputs": "P4, node6", "node9_inputs": "P5, node6", "node9_fusion": "sum"}
    swapped = {"node8_inputs": "P5, node6", "node8_fusion": "sum", "node9_inputs": "P4, node6", "node9_fusion": "sum"}
    rest = {"node10_inputs": "P7, node6", "node11_inputs": "P6, node10"}
    one, other = at(**apart, **rest), at(**swapped, **rest, output_order="P3 P5 P4 P7 P6")
    assert one != other
    assert one.digest == other.digest


def test_the_size_is_the_product_of_the_choices() -> None:
    pairs = math.prod(math.comb(known, 2) for known in range(5, 12))
    assert pairs * 2**7 * 4**2 * math.factorial(5) == 1_931_334_451_200_000
    small = [spec.digest for _, spec in enumerate_space(lambda trial: space(trial, detector(3, 4), intermediate=1))]
    assert len(small) == (1 * 3 * 6) * 2**3 * 1 * 2
    assert len(set(small)) == 232


@settings(max_examples=150)
@given(
    st.data(),
    st.sampled_from([(3, 7), (3, 4), (2, 5), (3, 8)]),
    st.integers(0, 4),
)
def test_every_choice_is_a_detector_with_every_level(data: st.DataObject, levels: tuple[int, int], extra: int) -> None:
    cell = space(Drawn(data), detector(*levels), intermediate=extra).topology
    assert len(cell.nodes) == extra + cell.num_inputs
    assert not cell.dead_nodes
    assert sorted(cell.outputs) == list(cell.node_ids[extra:])
    assert {source for node in cell.nodes for source in node.inputs} >= set(range(cell.num_inputs))
    assert all(cell.level_of[index] > levels[0] for index in cell.node_ids[:extra])
