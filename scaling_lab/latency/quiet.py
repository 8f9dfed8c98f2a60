"""Checks that a device exists and is idle."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from scaling_lab.errors import UserError, first_line
from scaling_lab.latency.conditions import Conditions
from scaling_lab.latency.device import Others, gpu_identity, gpu_use
from scaling_lab.latency.rules import UnsteadyDevice
from scaling_lab.machine import affinity

SECONDS = 1.0
CORES, SHARE = 0.1, 0.05  # of a CPU's cores, of a GPU's time


def refuse_busy(conditions: Conditions, say: Callable[[str], None]) -> None:
    """Raise UnsteadyDevice where others use the device within a second; print a note where this is unknown.

    Of a GPU, its own load is judged: other programs on the processors of a shared server are only noted.
    """
    others = Others()
    time.sleep(SECONDS)
    cores = others.cores()
    if conditions.kind == "cuda":
        used = gpu_use(gpu_identity(conditions.device))
        if used is None:
            say(f"nvidia-smi does not report whether others use {conditions.device}")
        elif used > SHARE:
            raise UnsteadyDevice(f"{conditions.device} is busy: {used:.0%} utilisation; {_ALLOWED}")
        if cores > CORES:
            say(
                f"other programs use {cores:.2g} cores; small networks wait for the processor that starts their kernels"
            )
    elif cores > CORES:
        raise UnsteadyDevice(f"the processor is busy: other programs use {cores:.2g} cores; {_ALLOWED}")


_ALLOWED = "measure when nothing else runs, or use --anyway"


def refuse_absent(conditions: Conditions) -> None:
    """Raise UserError for a missing device, or fewer cores than threads."""
    try:
        torch.zeros(1, device=conditions.device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"the device {conditions.device} cannot be used: {first_line(error)}") from None
    cores = affinity()
    if conditions.threads > cores:
        raise UserError(f"threads is {conditions.threads}; allowed are 1 to {cores}, the cores of this process")
