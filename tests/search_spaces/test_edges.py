"""Edges of the fully-connected network: the whole, published networks among its points, every point a detector."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Collection

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from scaling_lab import DetectorSpec, Topology, build, topologies
from scaling_lab.architecture.published import PUBLISHED
from scaling_lab.study.space.enumeration import enumerate_space
from search_spaces.compound import SMALL
from search_spaces.edges import space
from tests.search_spaces.drawing import Drawn


def detector(low: int, high: int) -> DetectorSpec:
    return dataclasses.replace(SMALL.base, topology=topologies.none(low, high))


def names(levels: tuple[int, ...], stages: int) -> set[str]:
    return {f"s{stage}_P{a}_P{b}" for stage in range(1, stages + 1) for a in levels for b in levels}


def at(edges: Collection[str], levels: tuple[int, int] = (3, 7), stages: int = 2) -> DetectorSpec:
    base = detector(*levels)
    every = names(base.topology.levels, stages)
    assert set(edges) <= every
    return space(FixedTrial({name: name in edges for name in every}), base, stages)


def one_node_a_stage(topology: Topology) -> set[str]:
    """The edges that make a topology whose nodes read the newest feature of a level alone."""
    return {
        f"s{stage}_P{topology.level_of[source]}_P{node.level}"
        for stage, node in enumerate(topology.nodes, start=1)
        for source in node.inputs
    }


def reads_a_level_twice(topology: Topology) -> bool:
    """Whether a node reads two features of a level, neither being an input of the cell that it alone reads."""
    readers = Counter(source for node in topology.nodes for source in node.inputs)
    levels = [
        Counter(topology.level_of[s] for s in node.inputs if s >= topology.num_inputs or readers[s] > 1)
        for node in topology.nodes
    ]
    return any(count > 1 for counted in levels for count in counted.values())


@pytest.mark.parametrize(("levels", "stages"), [((3, 7), 2), ((3, 5), 1), ((2, 5), 3)])
def test_all_edges_are_the_fully_connected_network(levels: tuple[int, int], stages: int) -> None:
    whole = topologies.fully_connected(*levels, stages=stages)
    spec = at(names(whole.levels, stages), levels, stages)
    assert spec == dataclasses.replace(SMALL.base, topology=whole)


@pytest.mark.parametrize(("name", "stages"), [("fpn", 5), ("simplified_panet", 8), ("panet", 10)])
def test_published_networks_are_points_with_a_stage_for_each_node(name: str, stages: int) -> None:
    published = PUBLISHED[name](3, 7)
    assert len(published.nodes) == stages
    assert at(one_node_a_stage(published), stages=stages).topology.digest == published.digest


def test_no_feature_network_is_a_point_in_either_stage() -> None:
    own = [{f"s{stage}_P{level}_P{level}" for level in range(3, 8)} for stage in (1, 2)]
    assert at(own[0]).topology.digest == at(own[1]).topology.digest == topologies.none(3, 7, fusion="fast").digest
    assert at(own[0] | own[1]).topology.digest == topologies.none(3, 7, fusion="fast").repeated(2).digest


def test_bifpn_nas_fpn_and_quad_fpn_are_no_points() -> None:
    """They read a level twice, which test_every_choice_is_a_detector_with_every_level finds at no point."""
    twice = {name for name, make in PUBLISHED.items() if reads_a_level_twice(make(3, 7))}
    assert twice == {"bifpn", "nas_fpn", "quad_fpn"}


def test_a_node_without_edges_is_not_made_and_its_readers_read_the_feature_before_it() -> None:
    own = {f"s{stage}_P{level}_P{level}" for stage in (1, 2) for level in (3, 4)}
    topology = at({*own, "s2_P3_P4"} - {"s1_P3_P3"}, (3, 4)).topology
    assert [(node.level, node.inputs) for node in topology.nodes] == [(4, (1,)), (3, (0,)), (4, (0, 2))]


def test_an_input_that_no_node_reads_is_read_by_its_levels_output() -> None:
    topology = at({"s1_P3_P3", "s1_P3_P4", "s2_P3_P4"}, (3, 4)).topology
    assert [(node.level, node.inputs) for node in topology.nodes] == [(3, (0,)), (4, (1, 2))]


def test_a_cell_without_edges_hands_its_inputs_on() -> None:
    spec = at(())
    assert spec.topology == Topology(3, 7)
    with torch.inference_mode():
        classes, boxes = build(spec).eval()(torch.zeros(1, 3, 128, 128))
    assert [tuple(x.shape[2:]) for x in classes] == [(16, 16), (8, 8), (4, 4), (2, 2), (1, 1)]
    assert len(boxes) == 5


def test_the_size_is_a_power_of_two_and_most_points_are_different_graphs() -> None:
    """The matrices without an empty row or column, by inclusion and exclusion over the empty columns."""

    def full(size: int) -> int:
        return sum((-1) ** i * math.comb(size, i) * (2 ** (size - i) - 1) ** size for i in range(size + 1))

    assert (full(2), full(3), full(5)) == (7, 265, 24_997_921)
    assert 0.55 < full(5) ** 2 / 2**50 < 0.56
    points = [spec.digest for _, spec in enumerate_space(lambda trial: space(trial, detector(3, 4)))]
    assert len(points) == 2**8
    whole = [spec.digest for _, spec in enumerate_space(lambda trial: space(trial, detector(3, 5), stages=1))]
    assert len(whole) == 2**9
    assert len(set(points)) >= full(2) ** 2
    assert len(set(whole)) >= full(3)


@settings(max_examples=150)
@given(st.data(), st.sampled_from([(3, 7, 2), (3, 3, 2), (3, 4, 3), (2, 5, 4)]))
def test_every_choice_is_a_detector_with_every_level(data: st.DataObject, sizes: tuple[int, int, int]) -> None:
    low, high, stages = sizes
    trial = Drawn(data)
    topology = space(trial, detector(low, high), stages).topology
    assert set(trial.params) == names(topology.levels, stages)
    assert not topology.dead_nodes
    assert tuple(topology.level_of[output] for output in topology.outputs) == topology.levels
    read = {source for node in topology.nodes for source in node.inputs} | set(topology.outputs)
    assert read >= set(range(topology.num_inputs))
    assert not reads_a_level_twice(topology)
    assert {node.fusion for node in topology.nodes} <= {"fast"}
