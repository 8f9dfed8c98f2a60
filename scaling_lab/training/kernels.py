"""How cuDNN chooses its kernels during training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def timed_kernels() -> Iterator[None]:
    """Let cuDNN time its kernels once for each shape: a training run has few shapes, since its image size is fixed."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
