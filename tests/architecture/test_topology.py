"""Topologies: validity, rewrites, canonical form. Their published wirings are in test_topologies.py."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_lab import Node, Topology, topologies
from scaling_lab.architecture import FUSIONS
from scaling_lab.errors import UserError


@st.composite
def random_topologies(draw: st.DrawFn) -> Topology:
    """Any valid cell, dead nodes and twins included."""
    low = draw(st.integers(2, 4))
    high = low + draw(st.integers(0, 3))
    nodes: list[Node] = []
    for _ in range(draw(st.integers(0, 7))):
        ids = range(high - low + 1 + len(nodes))
        inputs = draw(st.lists(st.sampled_from(ids), min_size=1, max_size=4, unique=True))
        fusion = draw(st.sampled_from(["sum", "fast", "attention_max"] if len(inputs) > 1 else ["sum", "fast"]))
        nodes.append(Node(draw(st.integers(low, high)), tuple(inputs), fusion))
    return Topology(low, high, tuple(nodes))


def rewritten(topology: Topology, seed: int) -> Topology:
    """The same graph in another valid order, with the unordered inputs shuffled."""
    chance = random.Random(seed)
    last = {output for output in topology.outputs if output >= topology.num_inputs}
    order: list[int] = []
    left = list(topology.node_ids)
    while left:

        def ready(node_id: int) -> bool:
            needs = [source for source in topology.node(node_id).inputs if source >= topology.num_inputs]
            level = topology.level_of[node_id]
            others = [o for o in left if o != node_id and topology.level_of[o] == level] if node_id in last else []
            return set(needs) <= set(order) and not others

        order.append(chance.choice([node_id for node_id in left if ready(node_id)]))
        left.remove(order[-1])
    new_id = {**{i: i for i in range(topology.num_inputs)}, **{o: topology.num_inputs + p for p, o in enumerate(order)}}
    nodes = []
    for node_id in order:
        node = topology.node(node_id)
        inputs = [new_id[source] for source in node.inputs]
        free = inputs[node.ordered_inputs :]
        chance.shuffle(free)
        nodes.append(Node(node.level, (*inputs[: node.ordered_inputs], *free), node.fusion))
    return Topology(topology.min_level, topology.max_level, tuple(nodes))


@settings(max_examples=300)
@given(random_topologies(), st.integers(0, 10**6))
def test_the_digest_is_the_same_for_every_order_of_writing(topology: Topology, seed: int) -> None:
    alive = topology.without_dead_nodes()
    other = rewritten(alive, seed)
    assert other.canonical == topology.canonical
    assert other.digest == topology.digest


@settings(max_examples=200)
@given(random_topologies())
def test_canonical_form_is_a_fixed_point_and_keeps_the_graph(topology: Topology) -> None:
    canonical = topology.canonical
    alive = topology.without_dead_nodes()
    assert canonical.canonical == canonical
    assert not canonical.dead_nodes
    assert (len(canonical.nodes), canonical.num_edges) == (len(alive.nodes), alive.num_edges)
    assert sorted((n.level, n.fusion) for n in canonical.nodes) == sorted((n.level, n.fusion) for n in alive.nodes)


def test_different_graphs_have_different_digests() -> None:
    known = [make(3, 7, fusion="sum") for make in map(topologies.__dict__.get, topologies.__all__)]
    assert len({topology.digest for topology in known}) == len(known)
    assert topologies.bifpn(3, 7, fusion="sum").digest != topologies.bifpn(3, 7, fusion="fast").digest
    assert topologies.bifpn(3, 7).digest != topologies.bifpn(2, 6).digest


def test_sharing_a_node_is_not_having_two_alike() -> None:
    """Two readers of one node, and two readers of twin nodes, compute differently: twins have weights of their own."""
    shared = Topology(3, 4, (Node(4, (0, 1)), Node(3, (0, 2)), Node(4, (1, 2))))
    twins = Topology(3, 4, (Node(4, (0, 1)), Node(4, (0, 1)), Node(3, (0, 2)), Node(4, (1, 3))))
    assert shared.digest != twins.digest


def test_the_order_of_attention_inputs_matters_and_of_others_does_not() -> None:
    def two(inputs: tuple[int, int], fusion: str) -> Topology:
        return Topology(3, 4, (Node(3, inputs, fusion), Node(4, (1, 2), "sum")))

    assert two((0, 1), "sum").digest == two((1, 0), "sum").digest
    assert two((0, 1), "attention_max").digest != two((1, 0), "attention_max").digest


def test_dead_nodes_are_found_and_dropped() -> None:
    topology = Topology(3, 4, (Node(3, (0, 1)), Node(3, (0, 1)), Node(4, (1, 3))))
    assert topology.dead_nodes == (2,)
    assert topology.without_dead_nodes() == Topology(3, 4, (Node(3, (0, 1)), Node(4, (1, 2))))


def test_repeating_chains_outputs_to_inputs() -> None:
    once = topologies.bifpn(3, 5)
    twice = once.repeated(2)
    assert len(twice.nodes) == 2 * len(once.nodes)
    first_of_second = twice.nodes[len(once.nodes)]
    assert first_of_second.inputs == tuple(once.outputs[source] for source in once.nodes[0].inputs)
    assert once.repeated(1) == once


@pytest.mark.parametrize("levels", [(low, high) for low in range(2, 9) for high in range(low + 1, 9)])
def test_the_papers_steps_from_panet_to_bifpn(levels: tuple[int, int]) -> None:
    simplified = topologies.panet(*levels).without_single_input_nodes()
    assert simplified == topologies.simplified_panet(*levels)
    assert simplified.with_same_level_skips() == topologies.bifpn(*levels)


def written(*nodes: object) -> dict[str, object]:
    return {"min_level": 3, "max_level": 4, "nodes": list(nodes)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Topology(3, 5, (Node(4, (0, 9)),)),
            r"node 3 \(P4\) reads id 9, which does not exist; the ids are 0 to 3",
        ),
        (
            lambda: Topology(3, 5, (Node(4, (1, 4)), Node(3, (0, 3)))),
            r"node 3 \(P4\) reads id 4, .* does not precede",
        ),
        (lambda: Topology(3, 5, (Node(4, (1, 3)),)), r"node 3 \(P4\) reads id 3, which does not precede it"),
        (lambda: Topology(3, 5, (Node(6, (1, 2)),)), r"node 3 \(P6\) is outside the levels P3 to P5"),
        (lambda: Topology(5, 3), r"levels P5 to P3: allowed are P1 to P9, finest first"),
        (lambda: Node(3, ()), r"a node at P3 has no inputs"),
        (lambda: Node(3, (1, 1)), r"a node at P3 reads an id twice: \[1, 1\]"),
        (lambda: Node(3, (0, 1), "fastest"), r"fusion 'fastest' is unknown; allowed are sum, mean, fast"),
        (lambda: Node(3, (0,), "attention_max"), r"fusion 'attention_max' has 1 input; allowed are at least 2"),
        (
            lambda: topologies.bifpn(3, 5).repeated(0),
            r"times in repeated\(times\) is 0; allowed are whole numbers from 1",
        ),
        (lambda: topologies.nas_fpn(3, 6), r"nas_fpn needs five levels; P3 to P6 are 4"),
        (lambda: topologies.nas_fpn(attention="min"), r"attention 'min' is unknown; allowed are 'max' and 'avg'"),
        (lambda: Topology(3.5, 5), "min_level is 3.5; allowed are whole numbers"),
        (lambda: Topology(3, "5"), "max_level is '5'; allowed are whole numbers"),
        (lambda: Topology(3, 5, ((4, (1, 2)),)), r"topology: nodes\[0\] is \(4, \(1, 2\)\); allowed is a Node"),
        (lambda: Topology(3, 5, 7), "topology: nodes is 7; allowed is a list of Nodes"),
        (lambda: Topology(3, 5, node=()), r"no field 'node' \(did you mean 'nodes'\?\); allowed are min_level, max_l"),
        (lambda: Node(4, 3), r"a node at P4: inputs is 3; allowed is a list of ids, such as \(0, 1\)"),
        (lambda: Node(4, "12"), "a node at P4: inputs is '12'; allowed is a list of ids"),
        (lambda: Node(4, (1, "a")), "a node at P4: an input is 'a'; allowed are whole numbers"),
        (lambda: Node(4, (1, True)), "a node at P4: an input is True; allowed are whole numbers"),
        (lambda: Node(4.0, (0, 1)), "a node's level is 4.0; allowed are whole numbers"),
        (lambda: Node(4, (0, 1), None), "fusion None is unknown; allowed are sum"),
        (lambda: topologies.bifpn(3, 5).repeated("2"), "is '2'; allowed are whole numbers from 1"),
        (lambda: topologies.fully_connected(stages=0), "stages is 0; allowed are whole numbers from 1"),
        (lambda: Topology.from_dict({"min_level": 3}), "allowed is a mapping with min_level, max_level and nodes"),
        (
            lambda: Topology.from_dict(written([3, [0, 1]])),
            r"nodes\[0\] is \[3, \[0, 1\]\]; allowed is \[level, inputs",
        ),
        (lambda: Topology.from_dict(written([3, 0, "sum"])), "a node at P3: inputs is 0; allowed is a list of ids"),
        (lambda: Topology.from_dict({**written(), "x": 1}), "'x': 1.*allowed is a mapping with min_level, max_level"),
    ],
)
def test_what_is_not_a_topology_is_named(make: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("name", topologies.__all__)
@pytest.mark.parametrize("levels", [("3", 7), (3.5, 7), (None, 7), (3, True), (7, 3), (0, 4), (6, 10)])
def test_every_published_topology_names_levels_that_are_none(name: str, levels: tuple[object, object]) -> None:
    with pytest.raises(
        UserError, match=r"(min|max)_level is .*; allowed are whole numbers|levels P\d+ to P\d+: allowed"
    ):
        getattr(topologies, name)(*levels)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_json_keeps_everything(fusion: str) -> None:
    topology = Topology(3, 4, (Node(3, (1, 0), fusion), Node(4, (1, 2), fusion)))
    assert Topology.from_dict(topology.to_dict()) == topology
