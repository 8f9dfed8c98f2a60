"""Which trials continue: the judge of a study, by its rule of early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from scaling_lab.study.study import Study

# Maps a trial and its metrics to the objectives' values; and a trial to its architecture's digest.
Values = Callable[[int, Mapping[str, Any]], list[Any]]
Architectures = Callable[[int], str]


class Judge:
    """Lets all trials continue; the judges of rules override its methods."""

    def __init__(self, study: Study, values: Values) -> None:
        self._values = values
        # Smaller is better from here on.
        self._signs = [-1.0 if direction == "maximize" else 1.0 for direction in study.objectives.values()]

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs whose results it needs."""
        return ()

    def note(self, trial: int, epoch: int, metrics: Mapping[str, Any]) -> bool:
        """Record a result and return whether the trial is judged there.

        One without a value of an objective is not recorded; its trial will fail at the end.
        """
        if epoch not in self.epochs:
            return False
        values = self._values(trial, metrics)
        if any(value is None or not math.isfinite(value) for value in values):
            return False
        return self.record(trial, epoch, [sign * value for sign, value in zip(self._signs, values, strict=True)])

    def record(self, trial: int, epoch: int, point: list[float]) -> bool:
        """Record a point of one of `epochs` and return whether the trial is judged there."""
        return False

    def goes_on(self, trial: int, epoch: int) -> bool:
        """Return whether a trial continues after its result at an epoch where it is judged."""
        return True
