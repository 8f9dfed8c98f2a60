"""Checkpoint files of a training run, written atomically and verified, and the states of torch's random generators."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scaling_lab.errors import first_line
from scaling_lab.files import whole_stream
from scaling_lab.training.failures import BadCheckpoint


def write_whole(path: Path, state: dict[str, Any]) -> None:
    """Write a file atomically: an interruption leaves the old one. Raises WriteError."""
    with whole_stream(path, lasting=True) as stream:
        torch.save(state, stream)


def read_state(path: Path, names: Sequence[str], device: torch.device) -> dict[str, Any]:
    """Read a file of `write_whole`, with at least the entries `names`. Nothing in the file is executed.

    Raises BadCheckpoint for a truncated, empty, damaged or unrelated file.
    """
    if wrong := _damage(path):
        raise bad(path, wrong)
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (torch.OutOfMemoryError, torch.AcceleratorError):  # of the device, not of the file
        raise
    except Exception:  # any error that an unrelated file causes
        raise bad(path, "is not a checkpoint: allowed is a file of tensors and plain values") from None
    if not isinstance(state, dict) or (missing := [name for name in names if name not in state]):
        what = f"has no {missing[0]}" if isinstance(state, dict) else f"holds {type(state).__name__}"
        raise bad(path, f"is not a checkpoint of a training run (it {what})")
    return state


def _damage(path: Path) -> str:
    """Return what is wrong with a torch file, a ZIP archive. torch itself does not verify its checksums."""
    try:
        if not path.stat().st_size:
            return "is empty"
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    except Exception:  # zipfile raises many types for damaged files
        return "is truncated, damaged or not a checkpoint"
    return "" if part is None else f"is damaged (wrong checksum of {part})"


def bad(path: Path, why: str) -> BadCheckpoint:
    """Return the error for a checkpoint that cannot be resumed from."""
    return BadCheckpoint(f"{path} {why}; remove it to train from the start")


def not_of_this(path: Path, error: Exception) -> BadCheckpoint:
    """Return the error for a checkpoint whose values do not fit this training run."""
    return bad(path, f"is damaged or of another training run ({first_line(error)})")


def random_states(device: torch.device) -> dict[str, Tensor]:
    """Return the states of the CPU's random generator and, if used, of the GPU's."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_states(states: dict[str, Tensor], device: torch.device) -> None:
    """Restore the states of `random_states`."""
    torch.set_rng_state(states["cpu"].cpu())
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
