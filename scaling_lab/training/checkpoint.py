"""What a run's checkpoint needs besides its values: writing whole files, and the states of torch's random generators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scaling_lab.files import whole_stream


def write_whole(path: Path, state: dict[str, Any]) -> None:
    """Write a file that a stop leaves as it was, or new. Raises WriteError."""
    with whole_stream(path, lasting=True) as stream:
        torch.save(state, stream)


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
