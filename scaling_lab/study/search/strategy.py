"""A strategy: how a sampler chooses the points of a search. One file each; study/samplers.py lists them.

proposals.py asks: first `points`, for what is planned at once, then `choose`, whenever a trial is wanted. Where `choose` gives
ASK, Optuna's study draws the point with the strategy's `optuna_sampler`; whatever is chosen, Optuna's study hears of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.samplers import BaseSampler, RandomSampler

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.study.ledger.database import Architecture, TrialRow
from scaling_lab.study.samplers import SAMPLERS
from scaling_lab.study.study import Study

Params = Mapping[str, Any]
# What `choose` gives where Optuna is to draw, and where the search has come to its end.
ASK, END = "ask", "end"


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What a strategy works with.

    `within_limits` counts a point and gives its architecture, or None where a limit refuses it; the refusal is in the ledger.
    `architecture` gives that of a digest of the ledger. `seed` is another one in each session.
    """

    study: Study
    within_limits: Callable[[DetectorSpec, Params], Architecture | None]
    architecture: Callable[[str], Architecture]
    seed: int


class Strategy:
    """Choose points at random; the others change what they do otherwise."""

    # Whether the sampler learns from points that a limit refused; else chance draws after a refusal, or it would repeat them.
    learns_from_refusals = True

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def optuna_sampler(self) -> BaseSampler:
        """Give the sampler of Optuna's study."""
        return RandomSampler(seed=self.desk.seed)

    def points(self) -> Iterable[tuple[Params, DetectorSpec]] | None:
        """Give all points of the space where they are planned at once; None where they are chosen one by one."""
        return None

    def choose(self, rows: Iterable[TrialRow]) -> Params | str:
        """Give the point to train next, or ASK, or END where nothing is left that the search has not had."""
        return ASK

    def refuse(self, digest: str) -> None:
        """Note an architecture that a limit refused after it had been chosen."""


def make_strategy(desk: Desk) -> Strategy:
    """Make the strategy of a study's sampler."""
    module, _, name = SAMPLERS[desk.study.sampler].home.partition(":")
    made: Strategy = getattr(importlib.import_module(module), name)(desk)
    return made
