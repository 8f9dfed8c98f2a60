"""Small disks, and rights that are given up for a while. It holds no tests."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Give a folder that is a disk of its own. Skips the test where this user may mount none."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk is a tmpfs, which this user may not mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def resize(disk: Path, kilobytes: int) -> None:
    """Make a small disk larger or smaller."""
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(disk)], check=True)


def fill(disk: Path) -> None:
    """Leave no room on a small disk."""
    with (disk / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * os.statvfs(disk).f_bsize)


@contextmanager
def without_rights() -> Iterator[None]:
    """Be a root that files' modes hold for: what another user owns and has closed is closed. Skips for other users.

    Another user could not import from a Python that root has installed at home.
    """
    if os.geteuid() != 0:
        pytest.skip("what this test closes to itself has to be another user's, which root alone can make it")
    before = _capabilities()
    _set_capabilities(before[0] & ~_DAC, before)
    try:
        yield
    finally:
        _set_capabilities(before[0], before)


# The system's numbers: the version of its structures, and CAP_DAC_OVERRIDE with CAP_DAC_READ_SEARCH as bits.
_VERSION, _DAC = 0x20080522, 0b110


def _capabilities() -> list[int]:
    """Give this thread's capabilities: effective, permitted and inheritable, the lower half and then the upper."""
    values = (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None, use_errno=True).capget((ctypes.c_uint32 * 2)(_VERSION, 0), values) == 0
    return list(values)


def _set_capabilities(effective: int, others: list[int]) -> None:
    values = (ctypes.c_uint32 * 6)(effective, *others[1:])
    assert ctypes.CDLL(None, use_errno=True).capset((ctypes.c_uint32 * 2)(_VERSION, 0), values) == 0
