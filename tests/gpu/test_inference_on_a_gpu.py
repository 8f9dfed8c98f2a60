"""Inference on a GPU: the CPU's outputs in every precision and backend, and the latency protocol's own conditions."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from scaling_lab import build, for_inference
from scaling_lab.cost import count
from scaling_lab.latency.conditions import Conditions
from scaling_lab.latency.contestants import prepare, used
from scaling_lab.latency.profiling import pieces_of, profile
from scaling_lab.latency.quick import measure_latency
from search_spaces.compound import SMALL

pytestmark = pytest.mark.gpu
SPEC = dataclasses.replace(
    SMALL.base, backbone="tf_efficientnet_b0", backbone_options={}, repeats=1, image_size=(128, 160)
)
# Largest difference over an output's largest value.
WITHIN = {"float32": 1e-3, "fp16": 0.02, "bf16": 0.1}


def outputs(conditions: Conditions) -> list[torch.Tensor]:
    with used(conditions):
        made = prepare(SPEC, conditions)()
    return [each.float().cpu() for pair in made for each in pair]


def assert_near(found: list[torch.Tensor], expected: list[torch.Tensor], within: float) -> None:
    for mine, other in zip(found, expected, strict=True):
        assert (mine - other).abs().max() <= within * other.abs().max()


@pytest.fixture(scope="module")
def on_cpu() -> list[torch.Tensor]:
    return outputs(Conditions(batch=2))


@pytest.mark.parametrize("dtype", WITHIN)
@pytest.mark.parametrize("backend", ["eager", pytest.param("compile", marks=pytest.mark.slow), "cuda_graphs"])
def test_outputs_are_those_of_the_cpu(dtype: str, backend: str, gpu: str, on_cpu: list[torch.Tensor]) -> None:
    if gpu == "cpu" and (backend != "eager" or dtype == "fp16"):
        pytest.skip("cannot be rehearsed on a CPU")
    assert_near(outputs(Conditions(device=gpu, batch=2, dtype=dtype, backend=backend)), on_cpu, WITHIN[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_images_of_any_layout_give_the_same(dtype: torch.dtype, gpu: str) -> None:
    torch.manual_seed(0)
    prepared = for_inference(build(SPEC)).to(gpu, dtype)
    images = torch.randn(2, 3, *SPEC.image_size, device=gpu, dtype=dtype)
    with torch.inference_mode():
        plain, last = prepared(images), prepared(images.contiguous(memory_format=torch.channels_last))
    assert all(torch.equal(a, b) for pair in zip(plain, last, strict=True) for a, b in zip(*pair, strict=True))


def test_autocast_is_near_float32(gpu: str, on_cpu: list[torch.Tensor]) -> None:
    torch.manual_seed(0)
    prepared = for_inference(build(SPEC)).to(gpu)
    images = torch.randn(2, 3, *SPEC.image_size, generator=torch.Generator().manual_seed(1)).to(gpu)
    with torch.inference_mode(), torch.autocast(gpu, torch.bfloat16):
        made = prepared(images)
    assert_near([each.float().cpu() for pair in made for each in pair], on_cpu, WITHIN["bf16"])


def test_a_profile_adds_up(gpu: str) -> None:
    conditions = Conditions(device=gpu)
    with used(conditions):
        milliseconds = profile(SPEC, conditions, runs=3)
    assert len(milliseconds) == len(pieces_of(SPEC, count(SPEC)))
    assert min(milliseconds) > 0


def test_a_trials_latency(cuda: str) -> None:
    (row,) = measure_latency([SPEC], device=cuda, threads=1)
    found: dict[str, Any] = dict(row)
    assert found["median_ms"] > 0
    assert found["peak_memory_mb"] > 0
    assert found["device"] == torch.cuda.get_device_name()
