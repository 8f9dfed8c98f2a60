"""What all tests share: no network, one thread each (several processes with a thread for every core stall), and no clock."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

# However long an example takes: other programs use this machine too. Other examples are drawn each time.
settings.register_profile("patient", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# Where tests marked `gpu` run. benchmarks/on_a_gpu.py rehearses on a CPU those that can.
GPU_TESTS_ON = os.environ.get("SCALING_LAB_GPU_TESTS_ON", "cuda")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    on_gpus = [item for item in items if item.get_closest_marker("gpu")]
    if not on_gpus or GPU_TESTS_ON != "cuda":
        return
    import torch

    if not torch.cuda.is_available():
        for item in on_gpus:
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))


@pytest.fixture
def gpu() -> str:
    """The device of a test marked `gpu`."""
    return GPU_TESTS_ON


@pytest.fixture
def cuda(gpu: str) -> str:
    """The same, for a test that cannot be rehearsed on a CPU."""
    if gpu != "cuda":
        pytest.skip("cannot be rehearsed on a CPU")
    return gpu
