"""Enumerates the points of a finite search space by calling it repeatedly."""

from __future__ import annotations

import contextlib
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from optuna import TrialPruned

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.errors import UserError
from scaling_lab.study.space.call import call_space
from scaling_lab.study.study import Space

MOST_POINTS = 100_000
# Number of random points that must all estimate a far larger space before it is refused without enumeration.
PROBES, CERTAIN = 16, 100


class TooMany(UserError):
    """A space has too many points to list; they can be sampled."""


def enumerate_space(space: Space) -> Iterator[tuple[dict[str, Any], DetectorSpec]]:
    """Yield (params, spec) of every point, depth first in the order in which the space suggests.

    A parameter suggested only under a condition is a branch of its own, so conditional spaces repeat no point. Points for
    which the space raises optuna.TrialPruned are skipped. Raises UserError for a continuous parameter and above
    MOST_POINTS, at once where a few random points estimate far more.
    """
    least = min(_size(space, random.Random(probe)) for probe in range(PROBES))
    if least > CERTAIN * MOST_POINTS:
        raise TooMany(f"the space has about {least:.1g} points; at most {MOST_POINTS} can be listed or run as a grid")
    path: list[int] = []
    for _ in range(MOST_POINTS):
        trial = _Replay(path)
        with contextlib.suppress(TrialPruned):
            yield _point(space, trial)
        path = trial.next_path()
        if not path:
            return
    raise TooMany(f"the space has more than {MOST_POINTS} points; at most {MOST_POINTS} can be listed or run as a grid")


def _size(space: Space, chance: random.Random) -> float:
    """Estimate the number of points from one random path: the product of its numbers of choices.

    Source: Knuth (1975), Estimating the efficiency of backtrack programs, Mathematics of Computation 29.
    """
    trial = _Probe(chance)
    with contextlib.suppress(TrialPruned):
        call_space(space, trial)
    return trial.size


def random_points(space: Space, number: int, *, seed: int) -> Iterator[tuple[dict[str, Any], DetectorSpec]]:
    """Yield (params, spec) of random points, without those for which the space raises optuna.TrialPruned."""
    chance = random.Random(seed)
    for _ in range(number):
        with contextlib.suppress(TrialPruned):
            yield _point(space, Drawn(chance))


def _point(space: Space, trial: Suggestions) -> tuple[dict[str, Any], DetectorSpec]:
    spec = call_space(space, trial)
    return trial.params, spec


class Suggestions(ABC):
    """Stands in for an Optuna trial, to explore a space without a search: every suggestion becomes a choice."""

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self.logs: set[str] = set()  # parameters on a log scale

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Choose one of several values."""
        return self._value(name, choices)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> Any:
        """Choose a whole number."""
        self._note(name, log)
        return self._value(name, range(low, high + 1, step))

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> Any:
        """Choose a number."""
        self._note(name, log)
        if step is None:
            if name not in self.params:
                self.params[name] = self._choose_between(name, low, high)
            return self.params[name]
        # Rounded because 0.1 + 2 * 0.1 is not 0.3; a step has fewer than 10 digits.
        return self._value(name, [round(low + i * step, 10) for i in range(int((high - low) / step + 1e-9) + 1)])

    def _note(self, name: str, log: bool) -> None:
        if log:
            self.logs.add(name)

    def _value(self, name: str, choices: Sequence[Any]) -> Any:
        if name not in self.params:
            if not choices:
                raise UserError(f"parameter {name!r} has no values to choose from")
            self.params[name] = self._choose(name, choices)
        return self.params[name]

    @abstractmethod
    def _choose(self, name: str, choices: Sequence[Any]) -> Any: ...

    @abstractmethod
    def _choose_between(self, name: str, low: float, high: float) -> float: ...


def _continuous(name: str, low: float, high: float) -> TooMany:
    return TooMany(
        f"a grid needs finitely many points, but {name!r} is continuous ({low} to {high}); "
        "give it a step, use suggest_categorical, or choose another sampler"
    )


class Drawn(Suggestions):
    """Suggests random values, uniform or log-uniform."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    def _choose(self, name: str, choices: Sequence[Any]) -> Any:
        if name in self.logs and choices[0] > 0:
            low, end = choices[0], choices[-1] + 1
            return choices[int((self._log_uniform(low, end) - low) / (end - low) * len(choices))]
        return self._chance.choice(choices)

    def _choose_between(self, name: str, low: float, high: float) -> float:
        return self._log_uniform(low, high) if name in self.logs and low > 0 else self._chance.uniform(low, high)

    def _log_uniform(self, low: float, high: float) -> float:
        return math.exp(self._chance.uniform(math.log(low), math.log(high)))


class _Probe(Drawn):
    """Multiplies the numbers of choices along a random path."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self.size = 1.0

    def _choose(self, name: str, choices: Sequence[Any]) -> Any:
        self.size *= len(choices)
        return super()._choose(name, choices)

    def _choose_between(self, name: str, low: float, high: float) -> float:
        raise _continuous(name, low, high)


class _Replay(Suggestions):
    """Suggests the choices of `path`, and the first choice beyond its end."""

    def __init__(self, path: Sequence[int]) -> None:
        super().__init__()
        self._path = list(path)
        self._sizes: list[int] = []

    def _choose(self, name: str, choices: Sequence[Any]) -> Any:
        depth = len(self._sizes)
        if depth == len(self._path):
            self._path.append(0)
        self._sizes.append(len(choices))
        return choices[self._path[depth]]

    def _choose_between(self, name: str, low: float, high: float) -> float:
        raise _continuous(name, low, high)

    def next_path(self) -> list[int]:
        """Return the path of the next point, or an empty one after the last."""
        for depth in reversed(range(len(self._sizes))):
            if self._path[depth] + 1 < self._sizes[depth]:
                return [*self._path[:depth], self._path[depth] + 1]
        return []
