"""Counts of the released models against the published numbers, and against fvcore on the built module."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest
import torch

from scaling_lab import DetectorSpec, build, count, efficientdet, topologies
from search_spaces.compound import SMALL

with (Path(__file__).parents[1] / "goldens" / "released_configs.csv").open() as file:
    PUBLISHED = {row["model"].lower(): row for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_released_models_have_the_published_counts(name: str) -> None:
    """Parameters: google/automl efficientdet_arch_test.py, exact; GMACs of convolutions: closed forms that give those too."""
    row, spec = PUBLISHED[name], efficientdet(name)
    cost = count(spec)
    assert cost.params == int(row["params_exact"])
    for part in ("backbone", "feature_network", "heads"):
        if row[f"params_{part}"]:
            assert cost.parts[part].params == int(row[f"params_{part}"])
        if row[f"gmacs_{part}"]:
            assert f"{cost.parts[part].gmacs:.3f}" == row[f"gmacs_{part}"]
    if row["conv_gmacs"]:
        assert f"{cost.gmacs:.3f}" == row["conv_gmacs"]
    settings = (spec.image_size[0], spec.width, spec.repeats, spec.head_repeats, spec.topology.max_level)
    names = ("image_size", "width", "cell_repeats", "head_repeats", "max_level")
    assert settings == tuple(int(row[name]) for name in names)
    assert spec.anchors.scale == float(row["anchor_scale"])
    assert {node.fusion for node in spec.topology.nodes} == {row["fusion"]}
    assert spec.backbone == f"tf_{row['backbone']}"


def test_quad_fpn_and_idle_biases() -> None:
    """effdet's README: q0 has 4.13M; effdet issue 13: D0 without biases before batch norm has 3,877,763."""
    d0 = efficientdet("d0")
    assert count(dataclasses.replace(d0, topology=topologies.quad_fpn(3, 7))).params == 4_131_418
    assert count(dataclasses.replace(d0, bias_before_norm=False)).params == 3_877_763


SMALL_SPECS = {
    f"{name}{'' if separable else ', dense'}": dataclasses.replace(
        SMALL.base, topology=getattr(topologies, name)(3, 7), image_size=(96, 130), separable=separable
    )
    for name in ("none", "nas_fpn", "fully_connected", "bifpn")
    for separable in (True, False)
}


@pytest.mark.parametrize("spec", [*SMALL_SPECS.values(), efficientdet("d0")], ids=[*SMALL_SPECS, "d0"])
def test_the_count_is_that_of_the_built_module(spec: DetectorSpec) -> None:
    from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis

    cost = count(spec)
    detector = build(spec).eval()
    assert cost.params == sum(p.numel() for p in detector.parameters())
    counted = FlopCountAnalysis(detector, torch.zeros(1, 3, *spec.image_size))
    counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    assert cost.macs == counted.by_operator()["conv"]
    activations = ActivationCountAnalysis(detector, torch.zeros(1, 3, *spec.image_size))
    activations.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    assert cost.activations == activations.total()
    parts = counted.by_module_and_operator()
    assert cost.backbone.macs == parts["backbone"]["conv"]
    assert cost.feature_network.macs == parts["feature_network"]["conv"]
    assert cost.heads.macs == parts["class_head"]["conv"] + parts["box_head"]["conv"]


MANY_CLASSES = dataclasses.replace(
    SMALL_SPECS["bifpn, dense"], num_classes=300, width=96
)  # the heads are what is largest
MEASURED = {name: SMALL_SPECS[name] for name in ("none", "bifpn", "nas_fpn, dense", "fully_connected, dense")}
MEASURED |= {"many classes": MANY_CLASSES, "d0": efficientdet("d0")}


@pytest.mark.parametrize("spec", MEASURED.values(), ids=MEASURED)
def test_memory_is_what_is_taken_from_the_allocator_between_operators(spec: DetectorSpec) -> None:
    """Within them it is more: a convolution may unfold its input, or copy its weights in another order."""
    from torch.profiler import ProfilerActivity, profile

    detector = build(spec).eval().to(memory_format=torch.channels_last)
    image = torch.zeros(1, 3, *spec.image_size).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        detector(image)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            detector(image)
    events = sorted(profiled.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    taken = sum(tensor.nbytes for tensor in (image, *detector.parameters(), *detector.buffers()))
    ends, between, within = 0, [taken], [taken]
    for event in events:
        if event.start_ns() >= ends:
            between.append(taken)
        if event.name() == "[memory]":
            taken += event.nbytes()
            within.append(taken)
        elif event.start_ns() >= ends:  # an operator that no other has called
            ends = event.start_ns() + event.duration_ns()
    # A batch norm's means and variances are alive a little longer on the meta device.
    assert max(between) == pytest.approx(count(spec).memory, rel=1e-4)
    assert count(spec).memory <= max(within)


def test_memory_is_that_of_one_image_and_grows_with_its_area() -> None:
    small, large = (dataclasses.replace(SMALL.base, image_size=(side, side)) for side in (128, 256))
    weights = sum(tensor.nbytes for tensor in (*build(small).parameters(), *build(small).buffers()))
    assert count(large).memory - weights == 4 * (count(small).memory - weights)
    assert count(small).memory_mb == count(small).memory / 1e6
