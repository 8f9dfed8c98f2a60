"""What an executor is given: one trial, as a plain value. Which trial is next, proposals.py says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from scaling_lab.architecture.spec import DetectorSpec


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A trial that is in the ledger and waits to be run. `epochs_done` are in its folder's checkpoint already.

    `is_timed` says that it is to measure its latency before it trains.
    """

    trial: int
    spec: DetectorSpec
    seed: int
    params: dict[str, Any]
    epochs: int
    epochs_done: int = 0
    seconds: float = 0.0
    gmacs: float = math.nan
    is_timed: bool = False
