"""Sampler "grid": every point of the space with every seed, seeds outermost."""

from __future__ import annotations

from collections.abc import Iterable

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.study.ledger.database import TrialRow
from scaling_lab.study.search.strategy import END, Params, Strategy
from scaling_lab.study.space.enumeration import enumerate_space


class Grid(Strategy):
    """Trains every point of the space with every seed."""

    def points(self) -> Iterable[tuple[Params, DetectorSpec]]:
        """Return all points of the space."""
        return enumerate_space(self.desk.study.space)

    def choose(self, rows: Iterable[TrialRow]) -> str:
        """Return END: all points are planned from the start."""
        return END
