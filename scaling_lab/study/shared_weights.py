"""Shared weights of a study: one training for the whole space, from which its trials are read."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from scaling_lab.checks import Fields, check_whole


@dataclass(frozen=True, kw_only=True)
class SharedWeights(Fields):
    """One training of the space, with the study's recipe; a trial then reads its detector's AP without training.

    Detectors of the space may differ in topology, width, repeats and head repeats. A step of the training has the space's
    largest detector, its smallest and `between` random ones. Weights are made for the roles in `points` points of the space,
    or in all if it has fewer.
    """

    between: int = 2
    points: int = 2000

    def __post_init__(self) -> None:
        check_whole("shared.between", self.between, least=0)
        check_whole("shared.points", self.points, least=1)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dataclasses.asdict(self)
