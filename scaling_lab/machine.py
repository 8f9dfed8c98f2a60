"""The usable cores, free memory, shared memory and GPUs as the driver sees them, of this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from scaling_lab.text import plural

SHARED_MEMORY = Path("/dev/shm")

# The oldest driver for each release of CUDA, by NVIDIA's table of minor version compatibility.
_LEAST_DRIVER = {"11": 450, "12": 525, "13": 580}
# Entries of CUDA_VISIBLE_DEVICES that hide all GPUs.
_NO_DEVICES = {"", "-1", "NoDevFiles"}


@dataclass(frozen=True, kw_only=True)
class Space:
    """Bytes of a file system."""

    total: int
    free: int


def free_memory() -> int:
    """Return the free bytes of memory, in this machine or its container, whichever is less."""
    return min(int(psutil.virtual_memory().available), _left_of_the_container())


def shared_memory() -> Space | None:
    """Return the space of /dev/shm, which Ray's store and NCCL use; None without it."""
    try:
        usage = shutil.disk_usage(SHARED_MEMORY)
    except OSError:
        return None
    return Space(total=usage.total, free=usage.free)


def affinity() -> int:
    """Return the number of cores that the system gives this process, without a container's quota."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores() -> int:
    """Return the number of cores this process may use: its affinity, or a container's smaller quota."""
    count = affinity()
    with contextlib.suppress(OSError, ValueError):  # no quota
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
        count = min(count, max(1, int(quota) // int(period)))
    return count


def nvidia_smi(*query: str) -> list[str]:
    """Return a line for each GPU, as nvidia-smi answers a query; none without it or where it fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, *query, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines()] if done.returncode == 0 else []


def driver_needed(cuda: str | None) -> str:
    """Return which driver torch's release of CUDA needs, as text; None is a torch without CUDA."""
    if cuda is None:
        return "torch is built without CUDA"
    least = _LEAST_DRIVER.get(cuda.partition(".")[0])
    return f"torch's CUDA {cuda} needs " + (f"driver {least} or newer" if least else "a driver that supports it")


def hidden_gpus(seen: int, cuda: str | None) -> str | None:
    """Return why torch sees fewer GPUs (`seen`) than the driver, and what to do; None where it sees all that it may.

    `cuda` is torch's release of CUDA. Without nvidia-smi the driver's GPUs are unknown.
    """
    drivers = nvidia_smi("--query-gpu=driver_version")
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = len(drivers) if allowed is None else min(len(drivers), len(set(allowed.split(",")) - _NO_DEVICES))
    if there <= seen:
        return None
    advice = "`python -c 'import torch; torch.cuda.init()'` says why"
    driver, release = (text.partition(".")[0] for text in (drivers[0], cuda or ""))
    if cuda is None or (driver.isdigit() and int(driver) < _LEAST_DRIVER.get(release, 0)):
        advice = "update the driver, or install torch for another CUDA (see pytorch.org/get-started)"
    return (
        f"nvidia-smi sees {plural(there, 'GPU')}, torch {seen or 'none'}: {driver_needed(cuda)}, and the "
        f"driver is {drivers[0]}; {advice}"
    )


def _left_of_the_container() -> int:
    """Return the free memory of this process's container; a huge number without a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        most, used = (folder / name for name in ("memory.max", "memory.current"))
        return int(most.read_text()) - int(used.read_text())
    except (OSError, ValueError):  # "max", or another system
        return 2**62
