"""A detector's latency within a minute, in this process, for trials: interleaved over the models, without an anchor.

protocol.py has the full protocol. All models are in memory at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.latency.conditions import Conditions
from scaling_lab.latency.contestants import prepare, used
from scaling_lab.latency.device import device_name, versions
from scaling_lab.latency.timing import block, summary, warm_up

WARM_UP = {"drift": 0.05, "block": 8, "least": 8, "most": 40}
RUNS, LEAST_ROUNDS, SECONDS = 3, 3, 5.0


def measure_latency(
    specs: Sequence[DetectorSpec], *, device: str = "cpu", batch: int = 1, threads: int = 1, rounds: int = 20
) -> Iterator[dict[str, Any]]:
    """Time networks, interleaved, at their own image sizes, eager in float32; yield a row of `latencies` for each.

    Times are of a whole batch. Rounds stop after SECONDS for each spec, which is enough for a slow model.
    """
    conditions = Conditions(device=device, batch=batch, threads=threads)
    with used(conditions):
        times = _measure(specs, conditions, rounds)
    for spec, runs in zip(specs, times, strict=True):
        yield {
            "architecture": spec.digest,
            **conditions.to_dict(),
            "device": device_name(device),
            **summary(runs),
            "processes": 1,
            "method": "quick",
            "versions": versions(conditions),
        }


def _measure(specs: Sequence[DetectorSpec], conditions: Conditions, rounds: int) -> list[list[float]]:
    contestants = [prepare(spec, conditions) for spec in specs]
    for run in contestants:
        warm_up(run, **WARM_UP)  # type: ignore[arg-type]
    times: list[list[float]] = [[] for _ in specs]
    start = time.perf_counter()
    for done in range(rounds):
        if done >= LEAST_ROUNDS and time.perf_counter() - start > SECONDS * len(specs):
            break
        for run, runs in zip(contestants, times, strict=True):
            runs += block(run, RUNS)
    return times
