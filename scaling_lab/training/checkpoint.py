"""What a run's checkpoint needs besides its values: writing and reading whole files, and torch's random generators."""

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
    """Write a file that a stop leaves as it was, or new. Raises WriteError."""
    with whole_stream(path, lasting=True) as stream:
        torch.save(state, stream)


def read_state(path: Path, names: Sequence[str], device: torch.device) -> dict[str, Any]:
    """Read what `write_whole` wrote, of which `names` are needed; nothing in the file is executed.

    Raises BadCheckpoint for a file that is cut, empty, damaged or of another kind.
    """
    if wrong := _damage(path):
        raise bad(path, wrong)
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # whatever another kind of file leads the reader to
        raise bad(
            path, "is no checkpoint: it is of another kind, or holds more than tensors and plain values"
        ) from None
    if not isinstance(state, dict) or (missing := [name for name in names if name not in state]):
        what = f"has no {missing[0]}" if isinstance(state, dict) else f"holds {type(state).__name__}"
        raise bad(path, f"is no checkpoint of a training run (it {what})")
    return state


def _damage(path: Path) -> str:
    """Say what is wrong with a file of torch's, a ZIP archive; torch itself does not compare its check sums."""
    try:
        if not path.stat().st_size:
            return "is empty"
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    except Exception:  # zipfile has many for what is cut or overwritten
        return "is cut, damaged or no checkpoint"
    return "" if part is None else f"is damaged (the check sum of {part} is wrong)"


def bad(path: Path, why: str) -> BadCheckpoint:
    """Give the error of a checkpoint from which no training can go on."""
    return BadCheckpoint(f"{path} {why}; without this file training starts from the beginning")


def not_of_this(path: Path, error: Exception) -> BadCheckpoint:
    """Give the error of a checkpoint whose values do not fit this training run."""
    return bad(path, f"is damaged or of another training run ({first_line(error)})")


def random_states(device: torch.device) -> dict[str, Tensor]:
    """Give the states of the processor's random generator and, where that is used, of the GPU's."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_states(states: dict[str, Tensor], device: torch.device) -> None:
    """Go on with the random numbers after those that `random_states` saw."""
    torch.set_rng_state(states["cpu"].cpu())
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
