"""What this machine is and has left: its processor's name, its memory, and what of it processes may share."""

from __future__ import annotations

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
    """Give the bytes that are free in this machine, or in this process's container where that is less."""
    return min(int(psutil.virtual_memory().available), _left_of_the_container())


def shared_memory() -> Space | None:
    """Give what /dev/shm has, where Ray's store and NCCL share memory between processes; None where there is none."""
    try:
        usage = shutil.disk_usage(SHARED_MEMORY)
    except OSError:
        return None
    return Space(total=usage.total, free=usage.free)


@lru_cache
def cpu_name() -> str:
    """Name this machine's processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _left_of_the_container() -> int:
    """Give what this process's container has left of its memory; much, where it has no limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        most, used = (folder / name for name in ("memory.max", "memory.current"))
        return int(most.read_text()) - int(used.read_text())
    except (OSError, ValueError):  # "max", or another system
        return 2**62
