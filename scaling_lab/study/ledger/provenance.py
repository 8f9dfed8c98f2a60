"""The provenance of results: versions, commit, host and command, found without importing the packages."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from scaling_lab.machine import affinity
from scaling_lab.processor import cpu_name

PACKAGES = (
    "scaling-lab",
    "torch",
    "torchvision",
    "timm",
    "ray",
    "optuna",
    "numpy",
    "faster-coco-eval",
    "pandas",
    "pillow",
)

_PACKAGE = Path(__file__).parents[2]


def provenance() -> dict[str, Any]:
    """Return command, versions, git_commit, git_dirty and host of this process; None where unknown."""
    commit, dirty = git_state(Path(__file__))
    return {
        "command": _plain(shlex.join([*_program(sys.argv[0]), *sys.argv[1:]])),
        "versions": versions(),
        "git_commit": commit,
        "git_dirty": dirty,
        "host": host(),
    }


def _program(file: str) -> list[str]:
    """Return the command that starts a program: a name on the path, or Python with a module or file."""
    path = Path(file)
    if path.name == "__main__.py" and path.is_relative_to(_PACKAGE):
        return ["python", "-m", ".".join((_PACKAGE.name, *path.relative_to(_PACKAGE).parts[:-1]))]
    return ["python", file] if path.suffix == ".py" else [path.name]


def _plain(text: str) -> str:
    """Return text that SQLite accepts: undecodable bytes of file names are escaped."""
    return text.encode("utf-8", errors="backslashreplace").decode()


def versions() -> dict[str, str]:
    """Return the versions of Python and of each installed package that may change a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_state(file: Path) -> tuple[str | None, bool | None]:
    """Return the commit of a file's repository, and whether tracked files differ from it."""
    # A package in a virtual environment may lie inside a repository without being tracked.
    if _git(file, "ls-files", "--error-unmatch", file.name) is None:
        return None, None
    commit = _git(file, "rev-parse", "HEAD")
    changes = _git(file, "status", "--porcelain", "--untracked-files=no")
    return commit, None if commit is None else bool(changes)


def host() -> dict[str, Any]:
    """Return the machine's name, system, processor, usable cores, memory and GPUs."""
    return {
        "name": platform.node(),
        "system": platform.platform(),
        "cpu": cpu_name(),
        "cores": affinity(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": gpus(),
    }


def gpus() -> list[str]:
    """Name this machine's NVIDIA GPUs."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in listing.splitlines() if line.strip()]


def _git(file: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(file.parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
