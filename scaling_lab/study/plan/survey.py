"""Survey of a search space before a run: points, architectures, costs, and rejections by limits."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import optuna

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.errors import UserError
from scaling_lab.study.ledger.database import Architecture
from scaling_lab.study.search.costs import Costs, Count, predictor
from scaling_lab.study.space.call import call_space, point_error
from scaling_lab.study.space.enumeration import enumerate_space
from scaling_lab.study.study import Space, Study
from scaling_lab.user_files import is_ours

# Counting an architecture takes under 1 ms, or 0.25 s for each new image size of a backbone.
POINTS = 200

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """`points` of the space, all of them where `is_exact`, else a random sample; and their distinct architectures.

    `rejected` counts architectures by the limits they break; `within` has the others in the space's order. `ranges` and
    `ranges_within` have the least and the most of each cost. `pruned` counts samples that the space itself rejected.
    """

    points: int
    is_exact: bool
    pruned: int
    architectures: int
    rejected: Mapping[str, int]
    within: tuple[Architecture, ...]
    ranges: Mapping[str, Range]
    ranges_within: Mapping[str, Range]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, with the number of architectures."""
        return {**vars(self), "rejected": dict(self.rejected), "within": len(self.within)}


def survey(study: Study, *, num_classes: int | None, points: int = POINTS, count: Count | None = None) -> Survey:
    """Survey a study's space: all of a grid, or of a space of at most `points` points; else that many random points.

    Specs are counted for `num_classes`, else as the space gives them. Raises UserError where the space fails.
    """
    pruned = 0
    whole: list[tuple[dict[str, Any], DetectorSpec]] | None = None
    if study.is_exhaustive:
        chosen: Iterable[tuple[Mapping[str, Any], DetectorSpec]] = enumerate_space(study.space)
    elif (whole := _all_points(study.space, most=points)) is not None:
        chosen = whole
    else:
        drawn = [_ask(study.space, trial) for trial in _random_trials(study.seeds[0], points)]
        chosen = [each for each in drawn if each is not None]
        pruned = len(drawn) - len(chosen)
    costs = Costs(limits=study.limits, num_classes=num_classes, count=count, predict=predictor(study), known={})
    found: dict[str, Architecture] = {}
    number = 0
    for params, spec in chosen:
        architecture = _measure(costs, study.space, params, spec)
        costs.keep(architecture)
        found[architecture.digest] = architecture
        number += 1
    return _summarise(found, costs, points=number, pruned=pruned, is_exact=study.is_exhaustive or whole is not None)


def _summarise(found: Mapping[str, Architecture], costs: Costs, *, points: int, pruned: int, is_exact: bool) -> Survey:
    rejected: Counter[str] = Counter()
    within = []
    for architecture in found.values():
        broken = costs.broken(architecture.costs)
        if broken:
            rejected[" and ".join(broken)] += 1
        else:
            within.append(architecture)
    return Survey(
        points=points,
        is_exact=is_exact,
        pruned=pruned,
        architectures=len(found),
        rejected=dict(rejected),
        within=tuple(within),
        ranges=_ranges(found.values()),
        ranges_within=_ranges(within),
    )


def _ranges(architectures: Iterable[Architecture]) -> dict[str, Range]:
    values = [architecture.costs for architecture in architectures]
    return {name: (min(v[name] for v in values), max(v[name] for v in values)) for name in (values or [{}])[0]}


def _all_points(space: Space, *, most: int) -> list[tuple[dict[str, Any], DetectorSpec]] | None:
    """Return all points of a space with at most `most`; None for a larger one or one that fails."""
    try:
        points = list(itertools.islice(enumerate_space(space), most + 1))
    except UserError:  # a continuous parameter; other errors recur at the random points
        return None
    return points if len(points) <= most else None


def _random_trials(seed: int, count: int) -> Iterator[optuna.Trial]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return (study.ask() for _ in range(count))


def _ask(space: Space, trial: optuna.Trial) -> tuple[Mapping[str, Any], DetectorSpec] | None:
    try:
        spec = call_space(space, trial)
    except optuna.TrialPruned:
        return None
    return trial.params, spec


def _measure(costs: Costs, space: Space, params: Mapping[str, Any], spec: DetectorSpec) -> Architecture:
    try:
        return costs.measure(spec)
    except Exception as error:
        if is_ours(error) and not isinstance(error, UserError):
            raise
        raise point_error(error, space, params) from None
