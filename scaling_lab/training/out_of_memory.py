"""A device with too little memory: what did not fit, and freeing what is left. Whether to go on is decided in train.py."""

from __future__ import annotations

import gc

import torch

from scaling_lab.errors import first_line


def too_little(error: torch.OutOfMemoryError, device: torch.device, images: int, image_size: tuple[int, int]) -> str:
    """Say which size did not fit: `images` at once, of `image_size` (height, width)."""
    height, width = image_size
    reason = first_line(error)
    return f"{device} has too little memory for {images} images of {height}x{width} px at once: {reason}"


def release() -> None:
    """Give back what nothing uses any more, that of a run that was deleted too."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
