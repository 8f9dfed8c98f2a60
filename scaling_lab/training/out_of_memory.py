"""Handling of a device that is out of memory: the message, and freeing memory."""

from __future__ import annotations

import gc

import torch

from scaling_lab.errors import first_line


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
