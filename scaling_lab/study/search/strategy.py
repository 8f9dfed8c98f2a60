"""A strategy: how a sampler chooses the points of a search. One file each; study/samplers.py lists them.

proposals.py first calls `points`, for points that are planned at once, then `choose`, whenever a trial is wanted. If
`choose` returns ASK, Optuna samples the point with the strategy's `optuna_sampler`. Optuna's study hears of every choice.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.samplers import BaseSampler, RandomSampler

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.stats.belief import Seen
from scaling_lab.study.ledger.database import Architecture, TrialRow
from scaling_lab.study.samplers import SAMPLERS
from scaling_lab.study.study import Study

Params = Mapping[str, Any]
# Results of `choose`: Optuna samples the point, or the search has ended.
ASK, END = "ask", "end"
# The complete trials of another run whose points this space has, with this space's architectures of these points.
Source = Sequence[Seen]


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What a strategy works with.

    `within_limits` counts a point and returns its architecture, or None where a limit rejects it, which is then recorded.
    `architecture` maps a digest to the ledger's architecture. `seed` differs between sessions. `sources` are runs to
    learn from at the start, for samplers that can.
    """

    study: Study
    within_limits: Callable[[DetectorSpec, Params], Architecture | None]
    architecture: Callable[[str], Architecture]
    seed: int
    sources: Sequence[Source] = ()


class Strategy:
    """Random search; the other strategies override its methods."""

    # Whether the sampler learns from rejected points; otherwise the point after a rejection is random.
    learns_from_refusals = True

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def optuna_sampler(self) -> BaseSampler:
        """Return the sampler of Optuna's study."""
        return RandomSampler(seed=self.desk.seed)

    def points(self) -> Iterable[tuple[Params, DetectorSpec]] | None:
        """Return all points of the space where they are planned at once; None where they are chosen one by one."""
        return None

    def choose(self, rows: Iterable[TrialRow]) -> Params | str:
        """Return the next point to train, or ASK, or END where nothing new is left."""
        return ASK

    def believed(self, rows: Iterable[TrialRow]) -> Mapping[str, float] | None:
        """Return the evaluated objective by architecture, as a model of the trials believes it; None without a model."""
        return None

    def refuse(self, digest: str) -> None:
        """Drop an architecture that a limit rejected after it was chosen."""


def make_strategy(desk: Desk) -> Strategy:
    """Return the strategy of a study's sampler."""
    module, _, name = SAMPLERS[desk.study.sampler].home.partition(":")
    made: Strategy = getattr(importlib.import_module(module), name)(desk)
    return made
