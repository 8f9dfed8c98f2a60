"""The interpreter: every topology and fusion at any size, against the numbers written out by hand."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from scaling_lab import DetectorSpec, Node, Topology, build, topologies
from scaling_lab.architecture import FUSIONS
from scaling_lab.architecture.published import PUBLISHED
from scaling_lab.errors import UserError
from scaling_lab.model.feature_network import FeatureNetwork
from scaling_lab.model.fusion import make_fusion
from scaling_lab.model.layers import resample
from search_spaces.compound import SMALL

BASE = SMALL.base


def _features(spec: DetectorSpec, sizes: list[tuple[int, int]], channels: list[int]) -> list[Tensor]:
    return [torch.randn(2, c, *size) for c, size in zip(channels, sizes, strict=True)]


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize(
    "levels", [(3, 7), *(pytest.param(each, marks=pytest.mark.slow) for each in ((2, 6), (3, 5), (3, 8), (4, 6)))]
)
@pytest.mark.parametrize("size", [(128, 128), (97, 161)])
def test_every_topology_gives_every_level_at_its_size(
    name: str, levels: tuple[int, int], size: tuple[int, int]
) -> None:
    if name == "nas_fpn" and levels[1] - levels[0] != 4:
        pytest.skip("NAS-FPN's cell has five levels")
    spec = dataclasses.replace(BASE, topology=PUBLISHED[name](*levels), repeats=2)
    sizes = [size]
    for _ in range(levels[1]):
        sizes.append(tuple((side - 1) // 2 + 1 for side in sizes[-1]))  # type: ignore[arg-type]
    given = range(levels[0], min(5, levels[1]) + 1)
    network = FeatureNetwork(spec, [8 * level for level in given])
    outputs = network(_features(spec, [sizes[level] for level in given], [8 * level for level in given]))
    assert [tuple(x.shape) for x in outputs] == [
        (2, spec.width, *sizes[level]) for level in range(levels[0], levels[1] + 1)
    ]


def test_a_call_gives_two_lists_over_levels() -> None:
    spec = dataclasses.replace(BASE, num_classes=7, topology=topologies.bifpn(3, 6))
    logits, deltas = build(spec)(torch.randn(2, 3, 96, 130))
    assert [tuple(x.shape) for x in logits] == [(2, 9 * 7, h, w) for h, w in [(12, 17), (6, 9), (3, 5), (2, 3)]]
    assert [x.shape[1] for x in deltas] == [9 * 4] * 4
    assert [x.shape[2:] for x in deltas] == [x.shape[2:] for x in logits]


def test_the_untrained_class_head_predicts_the_prior() -> None:
    torch.manual_seed(0)
    logits, deltas = build(BASE).eval()(torch.zeros(1, 3, 128, 128))
    assert torch.sigmoid(logits[0]).mean().item() == pytest.approx(0.01, rel=0.2)
    assert deltas[0].abs().mean().item() < 0.2


@pytest.mark.parametrize("kind", FUSIONS)
def test_every_fusion_is_its_formula(kind: str) -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(2, 3, 4, 5) for _ in range(3)]
    fusion = make_fusion(kind, 3, 3)
    weights = torch.tensor([0.5, -1.0, 2.0])
    for parameter in fusion.parameters():
        parameter.data.copy_(weights if parameter.dim() == 1 else weights[:, None] * torch.tensor([1.0, 2.0, 0.5]))
    w = {p.dim(): p.detach() for p in fusion.parameters()}
    shaped = w.get(2, torch.zeros(3, 3))[:, None, :, None, None]
    a, b, c = inputs
    expected = {
        "sum": a + b + c,
        "mean": (a + b + c) / 3,
        "fast": (0.5 * a + 2.0 * c) / (2.5 + 1e-4),
        "softmax": sum(x * share for x, share in zip(inputs, torch.softmax(weights, 0), strict=True)),
        "unbounded": 0.5 * a - b + 2.0 * c,
        "channel_fast": sum(x * r for x, r in zip(inputs, shaped.relu(), strict=True)) / (shaped.relu().sum(0) + 1e-4),
        "channel_softmax": sum(x * r for x, r in zip(inputs, torch.softmax(shaped, 0), strict=True)),
        "attention_max": a + torch.sigmoid(a.amax((2, 3), keepdim=True)) * b + c,
        "attention_avg": a + torch.sigmoid(a.mean((2, 3), keepdim=True)) * b + c,
    }[kind]
    torch.testing.assert_close(fusion(inputs), expected)


def test_fast_fusion_of_google_automls_unit_test() -> None:
    """Equal weights give 0.99995 times the mean: [0.99995, 2.99985] from [1, 3] (google/automl, efficientdet_arch_test)."""
    one = torch.tensor([1.0, 3.0]).view(1, 2, 1, 1)
    fused = make_fusion("fast", 2, 2)([one, one])
    torch.testing.assert_close(fused.flatten(), torch.tensor([0.99995, 2.99985]))


def test_tensorflow_padding_pools_from_the_start_and_symmetric_padding_does_not() -> None:
    row = torch.tensor([5.0, 0, 0, 9, 0, 7]).view(1, 1, 1, 6).repeat(1, 1, 6, 1)
    same = resample(row, (3, 3), dataclasses.replace(BASE, padding="same"))
    symmetric = resample(row, (3, 3), dataclasses.replace(BASE, padding="symmetric"))
    assert same[0, 0, 0].tolist() == [5.0, 9.0, 7.0]  # windows 0-2, 2-4, 4-5
    assert symmetric[0, 0, 0].tolist() == [5.0, 9.0, 9.0]  # windows -1-1, 1-3, 3-5


@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize("target", [(7, 9), (4, 5), (13, 17), (26, 33), (7, 40), (1, 1), (5, 17)])
def test_resampling_reaches_any_size(padding: str, target: tuple[int, int]) -> None:
    spec = dataclasses.replace(BASE, padding=padding)
    x = torch.randn(1, 2, 13, 17)
    out = resample(x, target, spec)
    assert out.shape[2:] == target
    assert torch.isfinite(out).all()
    assert set(out.flatten().tolist()) <= set(x.flatten().tolist())  # pooling and nearest invent no values


def test_p6_comes_from_raw_p5_and_p4_and_p5_are_projected_once_for_each_edge() -> None:
    spec = dataclasses.replace(BASE, topology=topologies.bifpn(3, 7), repeats=2)
    network = FeatureNetwork(spec, [40, 112, 320])
    convs = {n: m.in_channels for n, m in network.named_modules() if isinstance(m, nn.Conv2d) and "projections" in n}
    first = sorted(channels for name, channels in convs.items() if name.startswith("cells.0"))
    assert first == [40, 112, 112, 320, 320]
    assert not [name for name in convs if name.startswith("cells.1")]
    assert network.extra is not None
    assert network.extra.conv.in_channels == 320


def test_a_level_without_a_node_is_the_input_brought_to_the_width() -> None:
    topology = Topology(3, 5, (Node(3, (0, 1, 2), "sum"),))
    network = FeatureNetwork(dataclasses.replace(BASE, topology=topology, repeats=1), [24, 40, 56])
    outputs = network(_features(BASE, [(16, 16), (8, 8), (4, 4)], [24, 40, 56]))
    assert [x.shape[1] for x in outputs] == [BASE.width] * 3


def test_the_batch_norms_of_a_head_are_its_levels_own() -> None:
    spec = dataclasses.replace(BASE, head_repeats=2)
    head = build(spec).class_head
    assert [len(norms) for norms in head.norms] == [5, 5]  # type: ignore[arg-type]
    assert len(head.convolutions) == 2


@pytest.mark.parametrize(
    "backbone",
    [
        "resnet18",
        "convnext_atto",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("mobilenetv3_small_050", "efficientnet_lite0")),
    ],
)
def test_any_timm_backbone(backbone: str) -> None:
    spec = dataclasses.replace(BASE, backbone=backbone, backbone_options={})
    logits, _ = build(spec).eval()(torch.randn(1, 3, 64, 96))
    assert [tuple(x.shape[2:]) for x in logits] == [(8, 12), (4, 6), (2, 3), (1, 2), (1, 1)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "efficientnet_b99"}, "backbone 'efficientnet_b99' is unknown to timm .*; similar names are "),
        (
            {"backbone": "fasternet_t0", "backbone_options": {}, "topology": topologies.bifpn(1, 5)},
            r"'fasternet_t0' has no level P1; it has P2, P3, P4, P5",
        ),
        ({"backbone": "vit_tiny_patch16_224", "backbone_options": {}}, "has no level P3; it has P4"),
        (
            {"backbone_options": {"no_such": 1}},
            "timm cannot extract features of backbone 'resnet10t' with {'no_such': 1}",
        ),
    ],
)
def test_a_backbone_that_cannot_be_had_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(dataclasses.replace(BASE, **changes))  # type: ignore[arg-type]


def test_gradients_reach_every_parameter() -> None:
    spec = dataclasses.replace(BASE, topology=topologies.nas_fpn(3, 7), num_classes=2)
    detector = build(spec)
    logits, deltas = detector(torch.randn(2, 3, 128, 128))
    sum(x.square().mean() for x in [*logits, *deltas]).backward()  # type: ignore[union-attr]
    missing = [name for name, p in detector.named_parameters() if p.grad is None and not name.startswith("backbone")]
    assert not missing
