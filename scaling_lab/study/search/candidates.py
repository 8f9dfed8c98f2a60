"""Samples points of a space within its limits, for samplers that choose by cost.

Points are sampled at random and near given points. For a small space this reaches all of it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna import TrialPruned

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.errors import UserError
from scaling_lab.study.ledger.database import Architecture
from scaling_lab.study.space.call import call_space
from scaling_lab.study.space.enumeration import Drawn, Suggestions
from scaling_lab.study.study import Space

Params = Mapping[str, Any]
# Returns the architecture of a point, or None where a limit rejects it.
Measure = Callable[[DetectorSpec, Params], Architecture | None]

MOST = 4000
AT_FIRST, LATER = 1000, 64
# Counting takes 0.25 s where every point has a new image size; then the sample is smaller, limited in seconds.
LONGEST_AT_FIRST, LONGEST_LATER = 30.0, 3.0
# The least probability that a parameter of a near point is resampled; with fewer than ten parameters, one is on average.
LEAST_CHANCE = 0.1


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A point that may be trained, one of those with this architecture."""

    params: dict[str, Any]
    architecture: Architecture


class Candidates:
    """The candidates by architecture digest, oldest first. `draw` adds some."""

    def __init__(self, space: Space, measure: Measure, *, seed: int) -> None:
        self._space, self._measure = space, measure
        self._chance = random.Random(seed)
        self._found: dict[str, Candidate] = {}
        self._failure: UserError | None = None
        self.logs: set[str] = set()  # parameters on a log scale

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self._found.values())

    def draw(self, near: Sequence[Params]) -> None:
        """Sample at random, and as many near the given points. Raises UserError where the space fails at every point."""
        number, longest = (LATER, LONGEST_LATER) if self._found else (AT_FIRST, LONGEST_AT_FIRST)
        ends = time.monotonic() + longest
        for _ in range(number):
            self._add(Drawn(self._chance))
            if near:
                self._add(_Near(self._chance, self._chance.choice(near)))
            if time.monotonic() > ends:
                break
        if self._failure is not None and not self._found:
            raise self._failure
        for digest in list(self._found)[: max(0, len(self._found) - MOST)]:
            del self._found[digest]

    def _add(self, trial: Suggestions) -> None:
        try:
            architecture = self._measure(call_space(self._space, trial), trial.params)
        except TrialPruned:
            return
        except UserError as error:  # a failing candidate does not end the search
            self._failure = error
            return
        self.logs |= trial.logs
        if architecture is not None:
            self._found.setdefault(architecture.digest, Candidate(params=trial.params, architecture=architecture))


class _Near(Drawn):
    """Suggests the values of `params`, with some resampled."""

    def __init__(self, chance: random.Random, params: Params) -> None:
        super().__init__(chance)
        share = max(LEAST_CHANCE, 1 / max(1, len(params)))
        self._kept = {name: value for name, value in params.items() if chance.random() >= share}

    def _choose(self, name: str, choices: Sequence[Any]) -> Any:
        kept = self._kept.get(name)
        return kept if name in self._kept and kept in choices else super()._choose(name, choices)

    def _choose_between(self, name: str, low: float, high: float) -> float:
        kept = self._kept.get(name)
        return kept if kept is not None and low <= kept <= high else super()._choose_between(name, low, high)
