"""The processor's name, usable cores, free memory and shared memory of this machine."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import psutil

SHARED_MEMORY = Path("/dev/shm")


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


def cores() -> int:
    """Return the number of cores this process may use: its affinity, or a container's smaller quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # no quota
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
        count = min(count, max(1, int(quota) // int(period)))
    return count


@lru_cache
def cpu_name() -> str:
    """Return the name of this machine's processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _left_of_the_container() -> int:
    """Return the free memory of this process's container; a huge number without a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        most, used = (folder / name for name in ("memory.max", "memory.current"))
        return int(most.read_text()) - int(used.read_text())
    except (OSError, ValueError):  # "max", or another system
        return 2**62
