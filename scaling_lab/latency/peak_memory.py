"""The peak memory that torch allocates on a device while a detector runs once, workspaces included.

On CPUs this covers torch's allocator, without memory of oneDNN, OpenMP or ONNX Runtime.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from scaling_lab.latency.conditions import Conditions

CPU = 0  # the profiler's number of the CPU


def peak_memory(run: Callable[[], Any], conditions: Conditions, held: int) -> float | None:
    """Return the peak MB while `run` runs; `held` are the bytes of weights and images. None where it is unknown.

    A CUDA graph allocates its memory at capture, so a replay shows none.
    """
    if conditions.backend in ("onnxruntime", "cuda_graphs") or conditions.kind == "mps":
        return None
    if conditions.kind == "cuda":
        # Memory of other contestants is subtracted.
        before = torch.cuda.memory_allocated(conditions.device)
        torch.cuda.reset_peak_memory_stats(conditions.device)
        run()
        return (held + torch.cuda.max_memory_allocated(conditions.device) - before) / 1e6
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as events:
        run()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        events.export_chrome_trace(str(path))
        trace = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = [
        (event["ts"], event["args"]["Bytes"])
        for event in trace
        if event["name"] == "[memory]" and event["args"]["Device Type"] == CPU
    ]
    alive = most = 0
    for _, change in sorted(changes, key=lambda each: each[0]):
        alive += change
        most = max(most, alive)
    return (held + most) / 1e6
