"""Detectors on slices of shared weights: equal to ordinary modules to the bit, with the gradient in the slices alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scaling_lab import DetectorSpec, Node, Topology, topologies
from scaling_lab.architecture.fusions import FUSIONS, Fusion
from scaling_lab.errors import UserError
from scaling_lab.model.roles import node_roles, weight_slices
from scaling_lab.model.weight_store import WeightStore, new_store

BASE = DetectorSpec(
    backbone="resnet10t", topology=topologies.bifpn(3, 6), width=16, repeats=2, head_repeats=2, image_size=64, num_classes=3,
    backbone_options={"channels": [8, 8, 16, 24]},
)  # fmt: skip
# A level without a node passes on the backbone's feature, so the next cell or the output projects it.
SKIPPING = Topology(
    3, 6, (Node(4, (1, 2), "softmax"), Node(3, (0, 4), "channel_fast"), Node(6, (3, 4), "attention_max"))
)
TOPOLOGIES = {
    "none": topologies.none(3, 6),
    "fpn": topologies.fpn(3, 6, "sum"),
    "bifpn": BASE.topology,
    "channel_bifpn": topologies.bifpn(3, 6, "channel_softmax"),
    "panet": topologies.panet(3, 6),
    "nas_fpn": topologies.nas_fpn(3, 7),
    "skipping": SKIPPING,
}
NAMES = [name for name in TOPOLOGIES if name != "nas_fpn"]  # which has five levels


def spec_of(name: str, **changes: Any) -> DetectorSpec:
    return dataclasses.replace(BASE, **{"topology": TOPOLOGIES[name], **changes})


SPECS = [
    spec_of(name, width=width, repeats=repeats, head_repeats=heads)
    for name in NAMES
    for width, repeats, heads in ((16, 2, 2), (8, 1, 1), (12, 2, 0))
]


@pytest.fixture(scope="module")
def shared() -> WeightStore:
    torch.manual_seed(0)
    found = new_store(SPECS)
    with torch.no_grad():  # no two roles alike
        for weight in found.weights.values():
            weight.add_(0.1 * torch.randn_like(weight))
    return found


def images(size: int = 64, count: int = 2) -> Tensor:
    return torch.randn((count, 3, size, size), generator=torch.Generator().manual_seed(size))


def assert_equal(one: Any, other: Any) -> None:
    for own, their in zip([*one[0], *one[1]], [*other[0], *other[1]], strict=True):
        assert torch.equal(own, their)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.describe()} heads {spec.head_repeats}")
def test_a_detector_on_slices_is_the_ordinary_one_to_the_bit(shared: WeightStore, spec: DetectorSpec) -> None:
    ordinary = shared.detector(spec)
    assert {name for name in ordinary.state_dict() if not name.startswith("backbone.")} >= shared.tensors(spec).keys()
    shared.train()
    assert_equal(shared.run(spec, (images(),)), ordinary.train()(images()))
    other_size = dataclasses.replace(spec, image_size=96)
    assert_equal(shared.run(other_size, (images(96),)), ordinary(images(96)))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_ordinary_detector_and_zero_outside_its_slices(
    shared: WeightStore, name: str
) -> None:
    spec = spec_of(name, width=12, repeats=1, head_repeats=1)
    features = [level.detach() for level in shared.backbone(images())]
    shared.zero_grad(set_to_none=True)
    ordinary = shared.detector(spec)
    for run in (shared.run(spec, features, are_features=True), ordinary.from_features(features)):
        torch.autograd.backward(sum((level.square().sum() for level in [*run[0], *run[1]]), torch.zeros(())))
    used = set()
    for tensor_name, slices in weight_slices(ordinary).items():
        expected = ordinary.get_parameter(tensor_name).grad
        assert expected is not None
        for role, part in slices.split(expected).items():
            found = shared.weights[role].grad
            assert found is not None
            leading = tuple(slice(side) for side in slices.shape)
            assert torch.equal(found[leading], part)
            assert found.count_nonzero() == part.count_nonzero()
            used.add(role)
    assert {role for role, weight in shared.weights.items() if weight.grad is not None} == used
    assert len(used) < len(shared.weights)


def test_roles_are_shared_where_the_same_is_done_whatever_the_number_of_the_node(shared: WeightStore) -> None:
    roles = node_roles(BASE.topology)
    assert roles[:4] == ("P3", "P4", "P5", "P6")
    assert roles[4:] == ("P5 down 1", "P4 down 1", "P3 down 1", "P4 up 1", "P5 up 1", "P6 up 1")
    assert node_roles(topologies.fpn(3, 6)) == (
        *("P3", "P4", "P5", "P6"),
        *("P6 same 1", "P5 down 1", "P4 down 1", "P3 down 1"),
    )
    fpn = shared.tensors(spec_of("fpn", width=8))
    bifpn = shared.tensors(spec_of("bifpn"))
    name = "feature_network.cells.1.nodes.{}.convolution.pointwise.weight"
    own, others = fpn[name.format(1)], bifpn[name.format(0)]  # P5 down 1 in both
    assert own.data_ptr() == others.data_ptr()
    assert (own.shape, others.shape) == ((8, 8, 1, 1), (16, 16, 1, 1))
    assert fpn[name.format(3)].data_ptr() != bifpn[name.format(3)].data_ptr()  # P3 down, P4 up
    head = "class_head.norms.0.2.weight"
    assert fpn[head].data_ptr() == bifpn[head].data_ptr()


def test_every_role_is_of_some_detector_and_has_the_largest_shape(shared: WeightStore) -> None:
    largest: dict[str, tuple[int, ...]] = {}
    for spec in SPECS:
        for slices in weight_slices(shared.detector(spec)).values():
            for role in slices.roles:
                before = largest.get(role, (0,) * len(slices.shape))
                largest[role] = tuple(max(sides) for sides in zip(before, slices.shape, strict=True))
    # P4's feature has 16 channels, so only narrower detectors project it.
    assert largest == {role: tuple(weight.shape) for role, weight in shared.weights.items()}
    assert largest["cell 1/P4 down 1/from P4/conv/weight"] == (12, 16, 1, 1)


class Concatenation(nn.Module):
    """A convolution of all inputs and a scale for each pair of them: a fusion that no line of the package knows."""

    def __init__(self, num_inputs: int, width: int) -> None:
        super().__init__()
        self.joined = nn.Conv2d(num_inputs * width, width, 1)
        self.pairs = nn.Parameter(torch.ones(num_inputs * (num_inputs - 1)))
        self.register_buffer("gain", torch.tensor(0.5))

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Fuse."""
        return self.gain * self.joined(torch.cat(inputs, 1)) * self.pairs.sum()  # type: ignore[operator, no-any-return]


def test_a_new_fusion_shares_by_edge_without_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    fusion = Fusion(name="joined", home=f"{__name__}:Concatenation", formula="W [x_0, …]")
    monkeypatch.setitem(FUSIONS, "joined", fusion)
    cells = [Topology(3, 5, (Node(4, inputs, "joined"),)) for inputs in ((0, 1), (0, 1, 2), (1, 2))]
    specs = [
        dataclasses.replace(BASE, topology=cell, width=width, repeats=1, image_size=32)
        for cell in cells
        for width in (16, 8)
    ]
    store = new_store(specs)
    for spec in specs:
        assert_equal(store.run(spec, (images(32),)), store.detector(spec)(images(32)))
    name = "feature_network.cells.0.nodes.0.fusion.joined.weight"
    up, down = (weight_slices(store.detector(specs[place]))[name] for place in (0, 4))
    assert up.roles == ("cell 1/P4 up 1/joined/from P3/joined/weight", "cell 1/P4 up 1/joined/from P4/joined/weight")
    assert up.shape == down.shape == (16, 16, 1, 1)
    pairs = "feature_network.cells.0.nodes.0.fusion.pairs"
    assert weight_slices(store.detector(specs[2]))[pairs].roles == ("cell 1/P4 both 1/joined/from P3, P4, P5/pairs",)


def test_what_does_not_fit_says_why(shared: WeightStore) -> None:
    with pytest.raises(
        UserError, match="num_classes=4, another detector 3; detectors that share weights may differ in"
    ):
        shared.run(spec_of("fpn", num_classes=4), (images(),))
    with pytest.raises(UserError, match="P3 to P7 and another detector P3 to P6; allowed are the same levels"):
        new_store([BASE, spec_of("nas_fpn")])
    with pytest.raises(UserError, match=r"needs \(24, .*\) of .*allowed is at most \(16, "):
        shared.detector(spec_of("fpn", width=24))
    with pytest.raises(UserError, match="have no 'cell 3/"):
        shared.detector(spec_of("fpn", repeats=3))
    with pytest.raises(UserError, match="at least one"):
        new_store([])
