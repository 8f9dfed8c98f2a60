"""Copies to a device for which the host does not wait, neither for the copy nor for the device's queued work."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

# Devices that share the host's memory.
_UNPINNED = ("cpu", "mps")


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device. To a GPU it goes through pinned memory; a copy from other memory would be waited for."""
    if device.type in _UNPINNED or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


@lru_cache(maxsize=64)
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return a float32 tensor of constants on a device, copied there once. It must not be changed."""
    return to_device(torch.tensor(values), device)
