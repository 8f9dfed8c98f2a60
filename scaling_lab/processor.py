"""The processor's name. The script of `measure --export` contains this module, so it imports the standard library alone."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path


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
