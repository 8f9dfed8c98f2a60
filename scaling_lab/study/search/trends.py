"""What other runs predict of a search's points: trends, which the search's own trials weigh.

A point of another run is the one with the same parameters in this study's space, with this space's architecture. So image
size, data, recipe and classes of the other run may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.errors import UserError
from scaling_lab.study.ledger.database import Architecture, TrialRow
from scaling_lab.study.search.belief import Belief
from scaling_lab.study.search.costs import Unpredictable
from scaling_lab.study.search.sampling import replay
from scaling_lab.study.search.strategy import Params, Source
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
    rows: list[TrialRow] = []
    architectures: dict[str, Architecture] = {}
    for trial in run["trials"]:
        known = replay(space, trial["params"])
        if known is None:
            continue
        try:
            architecture = measure(known[0])
        except Unpredictable:  # so no candidate of the search is like it
            continue
        architectures[architecture.digest] = architecture
        rows.append(
            TrialRow(
                id=len(rows),
                architecture=architecture.digest,
                seed=trial["seed"],
                params=trial["params"],
                epochs=0,
                epochs_done=0,
                state="complete",
                seconds=0.0,
                metrics={run["measured"]: trial["value"]},
            )
        )
    counted = plural(len(architectures), "architecture")
    if len(architectures) < LEAST:
        raise UserError(
            f"{run['run']} has {counted} of this search space with {run['measured']}; a warm start needs {LEAST} or more"
        )
    left = len(run["trials"]) - len(rows)
    outside = f"; {left} more are outside this search space" if left else ""
    say(f"warm start: {plural(len(rows), 'trial')} of {counted} in {run['run']} (digest {run['digest']}){outside}")
    return Source(rows=rows, architectures=architectures)


class Trends:
    """One trend for each source: the posterior mean of a process fitted to its trials.

    That of an architecture which the source trained has this architecture's own effect, as far as its trials show it.
    A trend is in units of the standard deviation of its source's values. It is 0 where the source tells nothing.
    """

    def __init__(self, sources: Sequence[Source], *, value: Callable[[TrialRow], float]) -> None:
        self._sources, self._value = sources, value
        self._beliefs: list[Belief | None] = [None] * len(sources)

    def __call__(self, points: Sequence[tuple[Params, Architecture]], *, logs: Collection[str]) -> Tensor:
        """Return the trends (N, K) at points, one column for each source."""
        trends = [self._trend(place, points, logs) for place in range(len(self._sources))]
        return torch.stack(trends, dim=1) if trends else torch.zeros(len(points), 0, dtype=torch.float64)

    def _trend(self, place: int, points: Sequence[tuple[Params, Architecture]], logs: Collection[str]) -> Tensor:
        source = self._sources[place]
        # The encoding depends on all points, so the fit is repeated, from the last one.
        belief = self._beliefs[place] = Belief(
            source.rows,
            value=self._value,
            architecture=source.architectures.__getitem__,
            fresh=points,
            logs=logs,
            start=self._beliefs[place],
        )
        known, means = belief.believed(), belief.of_fresh()[0].tolist()
        means = [known.get(each.digest, mean) for (_, each), mean in zip(points, means, strict=True)]
        return (torch.tensor(means, dtype=torch.float64) - belief.process.centre) / belief.process.scale
