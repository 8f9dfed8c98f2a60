"""One trial to run, as a plain value for an executor. proposals.py chooses it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from scaling_lab.architecture.spec import DetectorSpec


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A trial of the ledger that is ready to run. `epochs_done` epochs are in its folder's checkpoint.

    `is_timed`: it measures its latency before it trains.
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
