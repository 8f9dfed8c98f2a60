"""Handling of a GPU's memory: the message where it does not suffice, freeing it, and the cap of a share of a GPU."""

from __future__ import annotations

import gc

import torch

from scaling_lab.errors import first_line

# What a process takes of a GPU beside torch's memory: CUDA's context and loaded kernels, about half a gigabyte.
CONTEXT = 600 * 10**6


def limit_to(share: float) -> None:
    """Limit this process's memory on its GPU to a share of it, 0 to 1, so that it never takes that of other processes.

    Beyond the limit torch raises OutOfMemoryError, as on a smaller GPU.
    """
    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    torch.cuda.set_per_process_memory_fraction(fraction_of(share, total))


def fraction_of(share: float, total: int) -> float:
    """Return the fraction of a GPU's `total` bytes that torch may allocate, for a process with this share of it.

    The rest of the share is for CUDA's context; at most half of the share.
    """
    return max(share - CONTEXT / total, share / 2) if share < 1 else 1.0


def too_little(error: torch.OutOfMemoryError, device: torch.device, images: int, image_size: tuple[int, int]) -> str:
    """Return the message that `images` images of `image_size` (height, width) did not fit."""
    height, width = image_size
    reason = first_line(error)
    return f"{device} has too little memory for {images} images of {height}x{width} px at once: {reason}"


def release() -> None:
    """Free unused memory, that of deleted objects included."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
