"""Which of a search's architectures are trained again with fresh seeds, as a plain value. Who they are, selection.py says."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from scaling_lab.checks import Fields, check_flag, check_items, check_whole
from scaling_lab.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Finalists(Fields):
    """The `count` best architectures of a search, each trained again with `seeds` once all other trials have ended.

    Of several good results the best is so by luck too, so its AP says too much (the winner's curse); what it gives with
    seeds that took no part in the choice does not. Candidates are the architectures with a complete trial, each by the
    mean of its trials in the search; those that were only stopped early or failed are none. With one objective the
    best are chosen; with several the front's members, the most spread along it first (Deb et al. 2002, NSGA-II), and
    where it has fewer than `count`, those that only it dominates, and so on. Finalists are never stopped early, and
    their results choose nobody. `baseline` adds the architecture of the study's baseline, whether or not it is among
    them or within the limits; parameters that the baseline leaves open are drawn.
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
        """The most trials that they take."""
        return (self.count + self.baseline) * len(self.seeds)

    def check_fresh(self, seeds: Iterable[int]) -> None:
        """Raise UserError where one of the finalists' seeds is among those of a search."""
        used = [seed for seed in self.seeds if seed in set(seeds)]
        if used:
            raise UserError(
                f"finalists.seeds has {', '.join(map(str, used))}, with which the search trains; "
                "allowed are fresh seeds, which have chosen nobody"
            )

    def to_dict(self) -> dict[str, Any]:
        """Give plain JSON values."""
        return {**dataclasses.asdict(self), "seeds": list(self.seeds)}
