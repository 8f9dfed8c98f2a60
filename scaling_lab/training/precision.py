"""The precision in which the network computes, in training and in evaluation."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the context of a recipe's precision on a device. With float32 it changes nothing."""
    return torch.autocast(device.type, _DTYPES[precision]) if precision in _DTYPES else nullcontext()
