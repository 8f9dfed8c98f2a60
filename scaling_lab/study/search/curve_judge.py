"""Applies stopping by learning curves (extrapolation.py): which trials continue, by their probability to join the front.

Its state is that of the ledger's epochs, read at the start and then updated one by one.
"""

from __future__ import annotations

import numpy as np

from scaling_lab.metrics import ACCURACIES
from scaling_lab.stats.regression import chance_above
from scaling_lab.study.extrapolation import Extrapolation
from scaling_lab.study.search.judge import Architectures, Judge, Values
from scaling_lab.study.study import Study


class CurveJudge(Judge):
    """Judges trials by their curves. Smaller is better within."""

    def __init__(self, study: Study, rule: Extrapolation, values: Values, architecture: Architectures) -> None:
        super().__init__(study, values)
        self._rule, self._architecture = rule, architecture
        self._last = study.recipe.epochs
        (self._measured,) = (place for place, name in enumerate(study.objectives) if name in ACCURACIES)
        self._judged = rule.epochs(study.recipe)
        # Points by epoch and trial; those of the last epoch are the complete trials'.
        self._points: dict[int, dict[int, list[float]]] = {epoch: {} for epoch in self.epochs}
        self._complete: set[str] = set()  # architectures

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs whose results it needs."""
        return (*self._judged, self._last)

    def record(self, trial: int, epoch: int, point: list[float]) -> bool:
        """Record a result and return whether the trial is judged there."""
        self._points[epoch][trial] = point
        if epoch == self._last:
            self._complete.add(self._architecture(trial))
        return epoch != self._last

    def goes_on(self, trial: int, epoch: int) -> bool:
        """Return whether a trial continues after its result at an epoch."""
        point, final, early = self._points[epoch][trial], self._points[self._last], self._points[epoch]
        if self._architecture(trial) in self._complete:
            return True
        costs = self._costs(point)
        rivals = [each[self._measured] for each in final.values() if _covers(self._costs(each), costs)]
        known = [other for other in final if other in early]
        if not rivals or len(known) < self._rule.least:
            return True
        chance = chance_above(
            -min(rivals),
            -point[self._measured],
            x_N=-np.array([early[other][self._measured] for other in known]),
            y_N=-np.array([final[other][self._measured] for other in known]),
        )
        return chance >= self._rule.chance

    def _costs(self, point: list[float]) -> list[float]:
        return [value for place, value in enumerate(point) if place != self._measured]


def _covers(costs: list[float], others: list[float]) -> bool:
    return all(mine <= other for mine, other in zip(costs, others, strict=True))
