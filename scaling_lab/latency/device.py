"""Facts about a device: its name, versions, use by other processes, and free memory."""

from __future__ import annotations

import importlib
import os
import time

import psutil
import torch

from scaling_lab import machine
from scaling_lab.latency.conditions import Conditions
from scaling_lab.processor import cpu_name

OUTPUTS = "spread"  # what suppression was given (spread_outputs.py); rows of other outputs are not comparable


def device_name(device: str | torch.device) -> str:
    """Return the name of the processor or GPU."""
    place = torch.device(device)
    if place.type == "cuda":
        return torch.cuda.get_device_name(place)
    return cpu_name()


def versions(conditions: Conditions) -> dict[str, str | None]:
    """Return the versions of the software that a latency under these conditions depends on."""
    found: dict[str, str | None] = {"torch": torch.__version__, "cuda": None}
    if conditions.kind == "cuda":
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        driver = machine.nvidia_smi("--query-gpu=driver_version")
        found |= {"cuda": torch.version.cuda, "cudnn": str(cudnn), "driver": driver[0] if driver else None}
    if conditions.backend == "onnxruntime":
        # The CUDA build has another distribution name.
        found["onnxruntime"] = importlib.import_module("onnxruntime").__version__
    if conditions.scope == "end_to_end":
        found["outputs"] = OUTPUTS
    return found


def free_memory(device: str) -> int:
    """Return the free bytes on a device, or in this machine's memory."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    return machine.free_memory()


# --- load -----------------------------------------------------------------------------------------------------------


class Others:
    """CPU use by other processes since its creation, in cores, excluding this process and its children."""

    def __init__(self) -> None:
        self._start, self._all, self._own = time.perf_counter(), _busy(), _own()

    def cores(self) -> float:
        """Return the mean since the object was created."""
        seconds = time.perf_counter() - self._start
        return max(0.0, (_busy() - self._all) - (_own() - self._own)) / seconds


def _busy() -> float:
    times = psutil.cpu_times()
    # Guest time is part of user; steal is time that the hypervisor gave to other machines.
    names = ("user", "nice", "system", "irq", "softirq", "steal")
    return float(sum(getattr(times, name, 0.0) for name in names))


def _own() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def gpu_identity(device: str) -> str:
    """Return nvidia-smi's name of a CUDA device, since its numbers differ from torch's."""
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def gpu_use(identity: str) -> float | None:
    """Return a GPU's utilisation in the last second, 0 to 1; None where nvidia-smi does not report it."""
    shares = machine.nvidia_smi("--query-gpu=utilization.gpu", f"--id={identity}")
    try:
        return float(shares[0]) / 100
    except (IndexError, ValueError):
        return None
