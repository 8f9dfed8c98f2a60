"""Draws points of a search space so that each choice of a parameter comes equally often."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from optuna import TrialPruned

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.errors import UserError
from scaling_lab.study.space.call import call_space
from scaling_lab.study.space.enumeration import Suggestions
from scaling_lab.study.study import Space
from scaling_lab.training.fair_paths import Bags

# Points in a row that the space prunes before it is refused.
MOST_PRUNED = 1000


class FairDraws:
    """The paths of shared weights over a search space, for training/shared_run.py.

    A parameter that is suggested under a condition has equally frequent choices where it is suggested. Where the space prunes
    points, choices of pruned points count as drawn.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._bags = space, Bags(seed)

    def draw(self) -> DetectorSpec:
        """Return the next detector. Raises UserError where the space fails or prunes too many points."""
        for _ in range(MOST_PRUNED):
            with contextlib.suppress(TrialPruned):
                return call_space(self._space, _Fair(self._bags))
        raise UserError(f"the search space pruned {MOST_PRUNED} points in a row; allowed is a space with more points")

    def state(self) -> dict[str, Any]:
        """Return the number of draws by parameter."""
        return dict(self._bags.drawn)

    def restore(self, state: dict[str, Any]) -> None:
        """Continue after a number of draws."""
        self._bags.drawn = dict(state)


class _Fair(Suggestions):
    """One point, from the bags of all."""

    def __init__(self, bags: Bags) -> None:
        super().__init__()
        self._bags = bags

    def _choose(self, name: str, choices: Sequence[Any]) -> Any:
        return choices[self._bags.draw(f"{name}, {len(choices)} choices", len(choices))]

    def _choose_between(self, name: str, low: float, high: float) -> float:
        return self._bags.chance(name, self._bags.number(name)).uniform(low, high)
