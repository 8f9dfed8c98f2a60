"""How long a detector takes on this device: the network alone, eager, interleaved over models. Not a model of other devices.

Rounds go over all models in turn, so that a device that warms up or is disturbed slows all of them alike; a model's figure
is the median over its runs, beside it the 90th percentile and the interquartile range.
"""

from __future__ import annotations

import contextlib
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.model import build

# A model is warm once its last runs are this close to the ones before; many short runs then follow.
WARM_DRIFT = 0.05
WARM_ROUNDS = 8
MOST_WARM_RUNS = 40
LEAST_ROUNDS = 3
SECONDS = 5.0


def measure_latency(
    specs: Sequence[DetectorSpec], *, device: str = "cpu", batch: int = 1, threads: int = 1, rounds: int = 20
) -> Iterator[dict[str, Any]]:
    """Time the specs against each other at their own image sizes, with random weights; give a row for each.

    Keys: architecture, device, dtype, batch, threads, backend, median_ms, p90_ms, spread_ms (interquartile), runs, versions.
    Times are of a whole batch. All models are held in memory at once. `threads` is for a CPU; rounds stop after SECONDS for
    each spec, for a slow model needs no more.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield from _measure(specs, torch.device(device), batch, rounds)
    finally:
        torch.set_num_threads(before)


def _measure(specs: Sequence[DetectorSpec], place: torch.device, batch: int, rounds: int) -> Iterator[dict[str, Any]]:
    models = [build(spec).eval().to(place).to(memory_format=torch.channels_last) for spec in specs]
    images = [_images(spec, batch, place) for spec in specs]
    for model, image in zip(models, images, strict=True):
        _warm_up(model, image)
    times: list[list[float]] = [[] for _ in specs]
    start = time.perf_counter()
    for done in range(rounds):
        if done >= LEAST_ROUNDS and time.perf_counter() - start > SECONDS * len(specs):
            break
        for model, image, runs in zip(models, images, times, strict=True):
            _run(model, image)  # not counted: it brings the model's weights back into the caches
            runs += [_run(model, image) for _ in range(3)]
    for spec, runs in zip(specs, times, strict=True):
        yield {
            "architecture": spec.digest,
            "device": device_name(place),
            "dtype": "float32",
            "batch": batch,
            "threads": torch.get_num_threads() if place.type == "cpu" else 0,
            "backend": "eager",
            **_summary(runs),
            "versions": {"torch": torch.__version__, "cuda": torch.version.cuda if place.type == "cuda" else None},
        }


def device_name(device: torch.device) -> str:
    """Name the processor or the graphics card."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _images(spec: DetectorSpec, batch: int, device: torch.device) -> Tensor:
    return torch.randn(batch, 3, *spec.image_size, device=device).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def _run(model: torch.nn.Module, images_BCHW: Tensor) -> float:
    """Run once; give milliseconds."""
    start = time.perf_counter()
    model(images_BCHW)
    if images_BCHW.is_cuda:
        torch.cuda.synchronize(images_BCHW.device)
    return (time.perf_counter() - start) * 1e3


def _warm_up(model: torch.nn.Module, images_BCHW: Tensor) -> None:
    before = float("inf")
    for _ in range(MOST_WARM_RUNS // WARM_ROUNDS):
        now = statistics.median(_run(model, images_BCHW) for _ in range(WARM_ROUNDS))
        if abs(before - now) < WARM_DRIFT * now:
            return
        before = now


def _summary(runs: list[float]) -> dict[str, float]:
    quarters = statistics.quantiles(runs, n=4)
    tenths = statistics.quantiles(runs, n=10)
    return {
        "median_ms": statistics.median(runs),
        "p90_ms": tenths[-1],
        "spread_ms": quarters[2] - quarters[0],
        "runs": len(runs),
    }
