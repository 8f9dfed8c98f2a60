"""A prepared detector against the one it was made of: the same outputs from any layout, no batch norm, nothing shared."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from scaling_lab import DetectorSpec, build, topologies
from scaling_lab.architecture import FUSIONS
from scaling_lab.errors import UserError
from scaling_lab.model import Detector, for_inference
from scaling_lab.model.inference import Gate, memory_format_for
from search_spaces.compound import SMALL

SPEC = dataclasses.replace(SMALL.base, image_size=(96, 130))


def trained(spec: DetectorSpec) -> Detector:
    """A detector whose norms and fusion weights are not those of the start."""
    torch.manual_seed(0)
    detector = build(spec).eval()
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in (
                (module.weight, 0.5),
                (module.bias, -0.5),
                (module.running_var, 0.5),
                (module.running_mean, -0.5),
            ):
                assert tensor is not None
                nn.init.uniform_(tensor, low, low + 1)
        elif hasattr(module, "normalisation"):
            nn.init.uniform_(module.weights, 0.2, 2.0)
    return detector


def norms(module: nn.Module) -> list[nn.Module]:
    return [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]


def assert_same(detector: Detector, prepared: Detector, spec: DetectorSpec) -> None:
    images = torch.randn(2, 3, *spec.image_size)
    with torch.no_grad():
        for before, after in zip(detector(images), prepared(images), strict=True):
            for expected, found in zip(before, after, strict=True):
                assert (found - expected).abs().max() <= 2e-5 * expected.std().clamp(min=1e-3) * 10


STYLES: list[dict[str, object]] = [
    {},
    {"separable": False},
    {"norm_before_activation": True},
    {"bias_before_norm": True, "head_activation": "relu"},
    {"head_repeats": 0},
    {"head_repeats": 3, "separable": False},
    {"head": "points"},
]


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_outputs_are_the_same_and_no_norm_is_left(style: dict[str, object]) -> None:
    spec = dataclasses.replace(SPEC, **style)  # type: ignore[arg-type]
    detector = trained(spec)
    prepared = for_inference(detector)
    assert norms(detector)
    assert not norms(prepared)
    assert_same(detector, prepared, spec)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion_gives_the_same(fusion: str) -> None:
    spec = dataclasses.replace(SPEC, topology=topologies.bifpn(3, 7, fusion))
    detector = trained(spec)
    assert_same(detector, for_inference(detector), spec)


@pytest.mark.parametrize(
    ("backbone", "is_folded"),
    [
        ("resnet10t", True),
        ("tf_efficientnet_b0", True),  # pads as TensorFlow does, by the sizes it sees
        pytest.param("mobilenetv3_small_050", True, marks=pytest.mark.slow),
        pytest.param("regnetx_002", True, marks=pytest.mark.slow),
        pytest.param("fasternet_t0", True, marks=pytest.mark.slow),
        ("test_convnext", True),  # it has no batch norm
        pytest.param("edgenext_xx_small", True, marks=pytest.mark.slow),
        ("xception41p", False),  # a hook reads what its convolutions give
    ],
)
def test_backbones_give_the_same(backbone: str, is_folded: bool) -> None:
    spec = dataclasses.replace(SPEC, backbone=backbone, backbone_options={})
    detector = trained(spec)
    prepared = for_inference(detector)
    assert (not norms(prepared.backbone)) == is_folded
    assert_same(detector, prepared, spec)


def test_a_norm_whose_input_somebody_else_reads_stays() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
            self.again, self.both = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            return self.both(self.again(self.again(self.norm(x) + x)))  # type: ignore[no-any-return]

    from scaling_lab.model.inference import _prepare_backbone

    branch = Branch().eval()
    image = torch.randn(1, 3, 4, 4)
    before = branch(image)
    _prepare_backbone(branch)
    assert len(norms(branch)) == 2
    torch.testing.assert_close(branch(image), before)


def test_what_is_prepared_is_not_prepared_again() -> None:
    with pytest.raises(UserError, match="already prepared for inference"):
        for_inference(for_inference(build(SPEC)))


def test_the_detector_itself_stays_as_it_was() -> None:
    detector = trained(SPEC)
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    prepared = for_inference(detector)
    for parameter in prepared.parameters():
        assert not parameter.requires_grad
        parameter.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in detector.state_dict().items())
    assert all(parameter.requires_grad for parameter in detector.parameters())


# --- memory layout and oneDNN ----------------------------------------------------------------------------------------

D0_LIKE = dataclasses.replace(SPEC, backbone="tf_efficientnet_b0", backbone_options={})
LAYOUTS = {
    "contiguous": lambda x: x.contiguous(),
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "a crop of larger images": lambda x: nn.functional.pad(x, (3, 5, 2, 1))[:, :, 2:-1, 3:-5],
    "height and width swapped": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_of_any_layout_give_the_same(layout: str) -> None:
    detector = trained(SPEC)
    prepared = for_inference(detector)
    images = torch.randn(2, 3, *SPEC.image_size)
    given = LAYOUTS[layout](images)
    assert torch.equal(given, images)
    with torch.inference_mode():
        expected, found = prepared(images), prepared(given)
    assert all(torch.equal(a, b) for pair in zip(expected, found, strict=True) for a, b in zip(*pair, strict=True))


@pytest.mark.parametrize(
    ("device", "dtype", "expected"),
    [
        ("cpu", torch.float32, torch.channels_last),
        ("cpu", torch.bfloat16, torch.channels_last),
        ("cuda", torch.float32, torch.contiguous_format),
        ("cuda", torch.bfloat16, torch.channels_last),
        ("cuda", torch.float16, torch.channels_last),
        ("mps", torch.float16, torch.contiguous_format),
    ],
)
def test_the_layout_is_that_of_device_and_precision(
    device: str, dtype: torch.dtype, expected: torch.memory_format
) -> None:
    assert memory_format_for(torch.device(device), dtype) == expected


def test_the_layout_is_chosen_again_after_a_move() -> None:
    prepared = for_inference(build(SPEC))

    def layouts() -> set[bool]:
        weights = [each for each in prepared.parameters() if each.dim() == 4 and min(each.shape[1:3]) > 1]
        return {each.is_contiguous(memory_format=prepared.memory_format) for each in weights}

    assert prepared.memory_format == torch.channels_last
    assert layouts() == {True}
    prepared.to(memory_format=torch.contiguous_format)
    assert layouts() == {True}
    prepared.to("meta")  # no layout is known to be faster there
    assert prepared.memory_format == torch.contiguous_format
    assert layouts() == {True}


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operators by name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count[func._overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN")
def test_on_a_cpu_activations_and_padding_are_part_of_convolutions() -> None:
    prepared = for_inference(trained(D0_LIKE))
    with torch.inference_mode(), Operators() as plain:
        prepared(torch.randn(1, 3, *D0_LIKE.image_size))
    convolutions = [each for each in prepared.modules() if isinstance(each, nn.Conv2d)]
    assert plain.count["_convolution_pointwise"] >= len(convolutions)
    assert not plain.count["convolution"]
    assert plain.count["silu_"] == sum(isinstance(each, Gate) for each in prepared.modules()) == 16
    # The nodes activate sums; all other activations are fused.
    assert plain.count["silu"] == D0_LIKE.repeats * len(D0_LIKE.topology.nodes)


@pytest.mark.parametrize("size", [(96, 130), (97, 131), (98, 129)], ids=str)
def test_padding_as_tensorflow_pads_at_even_and_odd_sizes(size: tuple[int, int]) -> None:
    spec = dataclasses.replace(D0_LIKE, image_size=size)
    detector = trained(spec)
    assert_same(detector, for_inference(detector), spec)


def test_a_block_whose_input_somebody_else_reads_is_not_gated_in_place() -> None:
    from timm.layers import BatchNormAct2d
    from timm.models._efficientnet_blocks import SqueezeExcite

    from scaling_lab.model.inference import _prepare_backbone

    class Branch(nn.Module):
        def __init__(self, is_read: bool) -> None:
            super().__init__()
            self.conv, self.norm, self.se = nn.Conv2d(3, 8, 1), BatchNormAct2d(8), SqueezeExcite(8)
            self.is_read = is_read

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.norm(self.conv(x))
            gated = self.se(x)
            return gated + x if self.is_read else gated

    image = torch.randn(2, 3, 4, 4)
    for is_read in (True, False):
        branch = Branch(is_read).eval().requires_grad_(False)
        expected = branch(image)
        _prepare_backbone(branch)
        assert isinstance(branch.se, Gate) != is_read
        torch.testing.assert_close(branch(image), expected)


def test_half_precision_and_autocast() -> None:
    detector = trained(SPEC)
    images = torch.randn(1, 3, *SPEC.image_size)
    with torch.inference_mode():
        expected = detector(images)[0][0]
        with torch.autocast("cpu", torch.bfloat16):
            cast = for_inference(detector)(images)[0][0]
        half = for_inference(detector).to(torch.bfloat16)(images.bfloat16())[0][0]
    for found in (cast, half):
        assert found.dtype == torch.bfloat16
        assert (found.float() - expected).abs().mean() <= 0.05 * expected.std()


def test_an_exported_graph_has_operators_of_torch_alone() -> None:
    prepared = for_inference(trained(SPEC))
    images = torch.randn(1, 3, *SPEC.image_size)
    program = torch.export.export(prepared, (images,))
    assert not [node for node in program.graph.nodes if "mkldnn" in str(node.target)]
    with torch.no_grad():
        torch.testing.assert_close(program.module()(images)[0][0], prepared(images)[0][0], rtol=1e-4, atol=1e-4)


def test_a_compiled_detector_is_one_graph() -> None:
    prepared = for_inference(trained(D0_LIKE))
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        found = torch.compile(prepared, fullgraph=True, backend="eager")(images)
        torch.testing.assert_close(found[0][0], prepared(images)[0][0], rtol=1e-4, atol=1e-4)


def test_kept_weights_follow_changes_copies_and_moves() -> None:
    detector, images = trained(D0_LIKE), torch.randn(1, 3, 64, 96)
    prepared = for_inference(detector)
    with torch.no_grad():
        first = prepared(images)[0][0]
        odd = prepared(images[:, :, 1:, 1:])[0][0]
        assert torch.equal(prepared(images)[0][0], first)
        again = pickle.loads(pickle.dumps(copy.deepcopy(prepared)))
        assert torch.equal(again(images)[0][0], first)
        assert torch.equal(again(images[:, :, 1:, 1:])[0][0], odd)
        assert not torch.equal(prepared.to(torch.bfloat16).float()(images)[0][0], first)
        for weight in again.parameters():
            weight.zero_()
        assert not again(images)[0][0].any()
