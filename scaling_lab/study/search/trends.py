"""What other runs tell a search about its own points, in numbers that the search's values have to confirm.

A point of another run is the point with the same parameters in this study's space. Its architecture is the one that this
space makes of it. So image size, data, recipe and classes of the other run may differ.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.errors import UserError
from scaling_lab.stats.belief import Belief, Seen
from scaling_lab.study.ledger.database import Architecture
from scaling_lab.study.search.costs import Unpredictable
from scaling_lab.study.search.sampling import replay
from scaling_lab.study.search.strategy import Source
from scaling_lab.study.study import Space
from scaling_lab.text import plural

LEAST = 2  # architectures of a source: one tells of no difference


def made_sources(
    warm_start: Iterable[Mapping[str, Any]],
    *,
    space: Space,
    measure: Callable[[DetectorSpec], Architecture],
    say: Callable[[str], None],
) -> list[Source]:
    """Return a source for each run of a ledger's `warm_start`, without the points that the space does not have.

    Raises UserError where too few are left.
    """
    return [_made(run, space, measure, say) for run in warm_start]


def _made(
    run: Mapping[str, Any], space: Space, measure: Callable[[DetectorSpec], Architecture], say: Callable[[str], None]
) -> Source:
    seen: list[Seen] = []
    for trial in run["trials"]:
        known = replay(space, trial["params"])
        if known is None:
            continue
        try:
            architecture = measure(known[0])
        except Unpredictable:  # so no candidate of the search is like it
            continue
        seen.append(
            Seen(
                architecture=architecture.digest,
                params=trial["params"],
                costs=architecture.costs,
                state="complete",
                value=trial["value"],
            )
        )
    architectures = {each.architecture for each in seen}
    counted = plural(len(architectures), "architecture")
    if len(architectures) < LEAST:
        raise UserError(
            f"{run['run']} has {counted} of this search space with {run['measured']}; a warm start needs {LEAST} or more"
        )
    left = len(run["trials"]) - len(seen)
    outside = f"; {left} more are outside this search space" if left else ""
    say(f"warm start: {plural(len(seen), 'trial')} of {counted} in {run['run']} (digest {run['digest']}){outside}")
    return seen


class Trends:
    """One trend for each source: the posterior mean of a process fitted to its trials.

    That of an architecture which the source trained has this architecture's own effect, as far as its trials show it.
    A trend is in units of the standard deviation of its source's values. It is 0 where the source tells nothing.
    """

    def __init__(self, sources: Sequence[Source], *, sign: float) -> None:
        self._sources = [[dataclasses.replace(each, value=sign * each.value) for each in source] for source in sources]
        self._beliefs: list[Belief | None] = [None] * len(sources)

    def __call__(self, points: Sequence[Seen], *, logs: Collection[str]) -> Tensor:
        """Return the trends (N, K) at points, one column for each source."""
        trends = [self._trend(place, points, logs) for place in range(len(self._sources))]
        return torch.stack(trends, dim=1) if trends else torch.zeros(len(points), 0, dtype=torch.float64)

    def _trend(self, place: int, points: Sequence[Seen], logs: Collection[str]) -> Tensor:
        # The encoding depends on all points, so the fit is repeated, from the last one.
        belief = self._beliefs[place] = Belief(
            self._sources[place], fresh=points, logs=logs, start=self._beliefs[place]
        )
        known, means = belief.believed(), belief.of_fresh()[0].tolist()
        means = [known.get(each.architecture, mean) for each, mean in zip(points, means, strict=True)]
        return (torch.tensor(means, dtype=torch.float64) - belief.process.centre) / belief.process.scale
