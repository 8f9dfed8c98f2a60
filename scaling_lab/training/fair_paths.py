"""Which detectors a step of shared weights trains: drawn so that each choice comes equally often."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Protocol

from scaling_lab.architecture.spec import DetectorSpec


class Paths(Protocol):
    """Draws detectors. Its state is plain values, so that a checkpoint continues it."""

    def draw(self) -> DetectorSpec:
        """Return the next detector."""

    def state(self) -> dict[str, Any]:
        """Return where it is."""

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""


class Bags:
    """A bag of choices for each name: each is drawn once, in random order, before any is drawn again (arXiv:1907.01845).

    The order depends on seed and name alone. `drawn` counts the draws by name.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.drawn: dict[str, int] = {}

    def draw(self, name: str, choices: int) -> int:
        """Return the index of the next choice."""
        times, place = divmod(self.number(name), choices)
        order = list(range(choices))
        self.chance(name, times).shuffle(order)
        return order[place]

    def number(self, name: str) -> int:
        """Return the number of draws so far, and count one."""
        self.drawn[name] = self.drawn.get(name, 0) + 1
        return self.drawn[name] - 1

    def chance(self, name: str, times: int) -> random.Random:
        """Return a generator of a name's bag."""
        return random.Random(f"{self._seed} {times} {name}")


class FairList:
    """Draws from a list: each detector equally often."""

    def __init__(self, specs: Sequence[DetectorSpec], seed: int) -> None:
        self._specs, self._bags = specs, Bags(seed)

    def draw(self) -> DetectorSpec:
        """Return the next detector."""
        return self._specs[self._bags.draw("detector", len(self._specs))]

    def state(self) -> dict[str, Any]:
        """Return the number of draws."""
        return dict(self._bags.drawn)

    def restore(self, state: dict[str, Any]) -> None:
        """Continue after a number of draws."""
        self._bags.drawn = dict(state)
