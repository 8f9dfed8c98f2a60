"""The rule by which a search's best architectures are retrained with fresh seeds. selection.py applies it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from scaling_lab.checks import Fields, check_flag, check_items, check_whole
from scaling_lab.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Finalists(Fields):
    """The `count` best architectures of a search, each retrained with `seeds` once all other trials have ended.

    The best of several noisy results is biased upwards (the winner's curse). Results of seeds that took no part in the
    selection are unbiased. Candidates are the architectures with a complete trial, scored by the mean of their search
    trials; those only stopped early or failed do not count. With one objective the best are selected. With several,
    members of the Pareto front are selected, the largest crowding distance first (Deb et al. 2002, NSGA-II); a front
    smaller than `count` is followed by the next front. Finalists are never stopped early, and their results select
    nothing. `baseline` adds the architecture of the study's baseline, within the limits or not. Parameters that the
    baseline leaves open are sampled.
    """

    count: int
    seeds: tuple[int, ...]
    baseline: bool = False

    def __post_init__(self) -> None:
        check_whole("finalists.count", self.count, least=1)
        seeds = check_items("finalists.seeds", self.seeds, "a list of whole numbers, such as (100, 101, 102)")
        object.__setattr__(self, "seeds", seeds)
        for seed in seeds:
            check_whole("a seed of the finalists", seed, least=0)
        if not seeds or len(set(seeds)) < len(seeds):
            raise UserError(f"finalists.seeds is {seeds}; allowed are different whole numbers from 0, at least one")
        check_flag("finalists.baseline", self.baseline)

    @property
    def trials(self) -> int:
        """The largest number of finalist trials."""
        return (self.count + self.baseline) * len(self.seeds)

    def check_fresh(self, seeds: Iterable[int]) -> None:
        """Raise UserError where a finalist seed is among the seeds of the search."""
        used = [seed for seed in self.seeds if seed in set(seeds)]
        if used:
            raise UserError(
                f"finalists.seeds has {', '.join(map(str, used))} in common with the search; allowed are fresh seeds"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**dataclasses.asdict(self), "seeds": list(self.seeds)}
