"""Formulas against runs: of pieces at any width, of backbones at any image size, and of what has no formula."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from scaling_lab import CompoundScaling, DetectorSpec, Node, Topology, count, topologies
from scaling_lab.architecture.fusions import FUSIONS, Fusion
from scaling_lab.architecture.spec import DOWNSAMPLINGS, PADDINGS, UPSAMPLINGS
from scaling_lab.cost import backbone_counts
from scaling_lab.cost.backbone_counts import count_backbone, derive
from scaling_lab.cost.network_pieces import Pieces, fusion
from scaling_lab.cost.pieces import on_meta, run
from scaling_lab.model.fusion import make_fusion
from scaling_lab.model.layers import resample
from search_spaces.compound import SMALL
from tests.cost.specs import BACKBONES
from tests.cost.test_counting import assert_counted_as_built


class Operators(TorchDispatchMode):
    """Counts the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += 1
        return func(*args, **(kwargs or {}))


# --- what is new costs no run ----------------------------------------------------------------------------------------

BASE = dataclasses.replace(SMALL.base, topology=topologies.bifpn(3, 7))
RULE = CompoundScaling(base=BASE, width_multiple=1).only("width", "depth", "heads", "image_size")
NEW = {
    "width": dataclasses.replace(BASE, width=171),
    "image size": dataclasses.replace(BASE, image_size=(401, 333)),
    "phi": RULE.spec(1.618),
    "topology": dataclasses.replace(BASE, topology=topologies.quad_fpn(3, 7)),
    "classes": dataclasses.replace(BASE, num_classes=7),
    "points": dataclasses.replace(BASE, head="points"),
    "all": dataclasses.replace(
        RULE.spec(2.718), num_classes=11, topology=topologies.panet(3, 7, "fast"), repeats=7, head_repeats=9
    ),
}


# These have the forms of modules that those above have: nodes of one to five inputs, and heads of up to two convolutions.
KNOWN = (
    BASE,
    dataclasses.replace(BASE, image_size=(160, 160), topology=topologies.fully_connected(3, 7)),
    dataclasses.replace(BASE, head_repeats=3, topology=topologies.panet(3, 7, "fast")),
)


@pytest.mark.parametrize("new", NEW)
def test_what_is_new_is_counted_without_running_anything(new: str) -> None:
    for known in KNOWN:
        count(known)
    with Operators() as operators:
        counted = count(NEW[new])
    assert operators.number == 0
    assert counted != count(BASE)
    assert_counted_as_built(NEW[new])


# --- backbones -------------------------------------------------------------------------------------------------------

QUICK = ("resnet10t", "test_efficientnet", "test_convnext")
# TensorFlow's padding, two kinds of attention, mixed kernels, and more pooling.
MORE = (
    *(name for name in BACKBONES if name not in QUICK),
    *("tf_efficientnet_b0", "tf_mixnet_s", "efficientvit_b0", "resnet18d", "xception41"),
)

# Attention that resamples to multiples of its patches, and features that are added, which fails unless 32 divides the size.
WITHOUT_FORMULA = ("mobilevitv2_050", "hrnet_w18_small")


@pytest.mark.parametrize("backbone", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
def test_a_backbone_is_counted_at_any_image_size(backbone: str) -> None:
    def spec(*image_size: int) -> DetectorSpec:
        return dataclasses.replace(BASE, backbone=backbone, backbone_options={}, image_size=image_size)

    for size in ((64, 96), (130, 97)):
        count_backbone(spec(*size))
    assert formula(spec(64, 96)) is not None

    @settings(max_examples=4)
    @given(st.integers(33, 700), st.integers(33, 700))
    def is_as_run(height: int, width: int) -> None:
        assert count_backbone(spec(height, width)) == ran(spec(height, width))

    is_as_run()


@pytest.mark.parametrize("backbone", [WITHOUT_FORMULA[0], pytest.param(WITHOUT_FORMULA[1], marks=pytest.mark.slow)])
def test_a_backbone_without_a_formula_is_run_at_every_size(backbone: str) -> None:
    for size in ((128, 128), (192, 256), (160, 96)):
        spec = dataclasses.replace(BASE, backbone=backbone, backbone_options={}, image_size=size)
        assert count_backbone(spec) == ran(spec)
    assert formula(spec) is None


def formula(spec: DetectorSpec) -> object:
    levels = (spec.topology.min_level, spec.topology.max_level)
    return backbone_counts._backbone(spec.backbone, "{}", *levels)._formula


def ran(spec: DetectorSpec) -> object:
    levels = (spec.topology.min_level, spec.topology.max_level)
    module = backbone_counts._module(spec.backbone, "{}", *levels)
    return backbone_counts._counted(backbone_counts._run(module, spec.image_size))


class Padded(nn.Module):
    """TensorFlow's padding before a convolution or pooling, or `fixed` pixels at each end."""

    def __init__(self, then: nn.Module, kernel: int, stride: int, fixed: int | None) -> None:
        super().__init__()
        self.then, self.kernel, self.stride, self.fixed = then, kernel, stride, fixed

    def forward(self, x_BCHW: Tensor) -> Tensor:
        pads = []
        for side in reversed(x_BCHW.shape[2:]):
            total = max((-(-side // self.stride) - 1) * self.stride + self.kernel - side, 0)
            pads += [total // 2, total - total // 2] if self.fixed is None else [self.fixed, self.fixed]
        return self.then(F.pad(x_BCHW, pads))  # type: ignore[no-any-return]


class Features(nn.Module):
    """Layers one after another, all of whose results are features."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        features = [x_BCHW]
        for layer in self.layers:
            features.append(layer(features[-1]))
        return features[1:]


@st.composite
def layers(draw: st.DrawFn) -> nn.Module:
    """Draw a convolution or pooling of three channels, padded in any way."""
    kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    padding, dilation = draw(st.integers(0, kernel // 2)), draw(st.integers(1, 2))
    pad, ceil = draw(st.sampled_from(["own", "same", "fixed"])), draw(st.booleans())
    given = {"kernel_size": kernel, "stride": stride, "padding": padding if pad == "own" else 0}
    reach = kernel
    kind = draw(st.sampled_from(["convolution", "max", "average"]))
    if kind == "convolution":
        layer: nn.Module = nn.Conv2d(3, 3, dilation=dilation, **given)
        reach = dilation * (kernel - 1) + 1
    elif kind == "max":
        layer = nn.MaxPool2d(ceil_mode=ceil, **given)
    else:
        layer = nn.AvgPool2d(ceil_mode=ceil, **given)
    return layer if pad == "own" else Padded(layer, reach, stride, None if pad == "same" else padding)


@pytest.mark.parametrize("examples", [30, pytest.param(100, marks=pytest.mark.long)])
def test_any_layers_are_counted_at_any_size_or_have_no_formula(examples: int) -> None:
    derived = []

    @settings(max_examples=examples)
    @given(st.data())
    def is_as_run(data: st.DataObject) -> None:
        with on_meta():
            module = Features(data.draw(st.lists(layers(), min_size=1, max_size=5)))
        found = derive(module)
        derived.append(found is not None)
        for _ in range(3):
            size = (data.draw(st.integers(60, 300)), data.draw(st.integers(60, 300)))
            if found is None:
                break
            counted = found.at(size)
            try:
                ran = backbone_counts._run(module, size)
            except RuntimeError:  # a kernel is larger than what it reads
                assert counted is None
                break
            if counted is not None:
                assert counted == backbone_counts._counted(ran)
            elif not found.learns(ran, size):
                found = None

    is_as_run()
    assert sum(derived) > len(derived) / 4


def test_what_tensorflow_pads_depends_on_the_size() -> None:
    with on_meta():
        module = Features([Padded(nn.Conv2d(3, 8, 5, stride=2), 5, 2, None), nn.MaxPool2d(3, 2, padding=1)])
    found = derive(module)
    assert found is not None
    for size, shapes in (((99, 64), ((8, 50, 32), (8, 25, 16))), ((97, 66), ((8, 49, 33), (8, 25, 17)))):
        counted = found.at(size)
        assert counted is not None
        assert counted[2] == shapes
        assert counted[0].macs == 3 * 8 * 25 * shapes[0][1] * shapes[0][2]


# --- pieces ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FUSIONS)
def test_a_fusion_of_any_number_of_inputs_is_counted_as_it_is_run(kind: str) -> None:
    for inputs in range(max(FUSIONS[kind].ordered_inputs, 1), 12):
        piece = fusion(kind, inputs, 37)
        with on_meta():
            counted = run(make_fusion(kind, inputs, 37), [torch.empty(1, 37, 5, 3) for _ in range(inputs)])
        assert (piece.params, piece.weights) == (counted.params, counted.weights)
        assert (piece.macs.at(15), piece.activations.at(15)) == (counted.macs, counted.activations)
        assert (piece.left.at(15), piece.peak(15)) == (counted.left, counted.peak)


class Bottleneck(nn.Module):
    """A sum through a third of the channels, which is no polynomial in the width, at the cost of a quarter for three inputs."""

    def __init__(self, num_inputs: int, width: int) -> None:
        super().__init__()
        inner = width // (4 if num_inputs == 3 else 3)
        self.layers = nn.Sequential(nn.Conv2d(width, inner, 1), nn.Conv2d(inner, width, 1))

    def forward(self, inputs: list[Tensor]) -> Tensor:
        return self.layers(sum(inputs[1:], start=inputs[0]))  # type: ignore[no-any-return]


def test_a_fusion_that_is_no_polynomial_in_the_width_is_counted_as_built(monkeypatch: pytest.MonkeyPatch) -> None:
    home = f"{__name__}:Bottleneck"
    monkeypatch.setitem(FUSIONS, "bottleneck", Fusion(name="bottleneck", home=home, formula="none"))
    topology = Topology(
        3, 5, (Node(4, (0, 1, 2), "bottleneck"), Node(5, (2, 3), "bottleneck"), Node(3, (0, 1, 2, 3, 4)))
    )
    for width in (24, 25, 37):
        spec = dataclasses.replace(SMALL.base, topology=topology, width=width, repeats=1)
        assert_counted_as_built(spec)
        assert count(spec).params - count(dataclasses.replace(spec, topology=topology.with_fusion("sum"))).params == (
            (width // 4 + width // 3) * (2 * width + 1) + 2 * width + 5
        )


@given(st.lists(st.integers(1, 40), min_size=4, max_size=4), st.data())
def test_resampling_is_counted_as_it_is_run(sides: list[int], data: st.DataObject) -> None:
    source, target = (sides[0], sides[1]), (sides[2], sides[3])
    style = {
        "padding": data.draw(st.sampled_from(PADDINGS)),
        "downsampling": data.draw(st.sampled_from(DOWNSAMPLINGS)),
        "upsampling": data.draw(st.sampled_from(UPSAMPLINGS)),
    }
    spec = dataclasses.replace(BASE, **style)
    with on_meta():
        counted = run(lambda x_BCHW: resample(x_BCHW, target, spec), torch.empty(1, 1, *source))
    assert tuple(counted.outputs[0].shape[2:]) == target
    assert Pieces(spec).resampled(source, target) == (counted.peak, counted.left)
