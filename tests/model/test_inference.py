"""A prepared detector against the one it was made of: the same outputs, no batch norm, and nothing shared."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from scaling_lab import DetectorSpec, build, topologies
from scaling_lab.architecture import FUSIONS
from scaling_lab.errors import UserError
from scaling_lab.model import Detector, for_inference
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

    from scaling_lab.model.inference import _fold_backbone

    branch = Branch().eval()
    image = torch.randn(1, 3, 4, 4)
    before = branch(image)
    _fold_backbone(branch)
    assert len(norms(branch)) == 2
    assert torch.equal(branch(image), before)


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
