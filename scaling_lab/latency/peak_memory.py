"""The most memory that torch holds on a device while a detector runs once: measured, unlike `count`'s, with workspaces.

Of a CPU it is what torch's allocator gave; what oneDNN and OpenMP keep for themselves is not seen, nor ONNX Runtime's own.
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

CPU = 0  # the profiler's number for it


def peak_memory(run: Callable[[], Any], conditions: Conditions, held: int) -> float | None:
    """Give MB while `run` runs; `held` are the bytes of weights and images. None where nobody tells.

    A CUDA graph has its memory from the start, so that a replay shows nothing.
    """
    if conditions.backend in ("onnxruntime", "cuda_graphs") or conditions.kind == "mps":
        return None
    if conditions.kind == "cuda":
        # Other contestants stand beside this one.
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
