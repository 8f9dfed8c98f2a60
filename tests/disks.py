"""Small disks, and rights that are given up for a while. It holds no tests."""

from __future__ import annotations

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


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user without rights. Skips the test where this one cannot become another."""
    if os.geteuid() != 0:
        pytest.skip("only root can become a user without rights, and root's files are what that user may not read")
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
