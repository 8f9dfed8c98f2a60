"""A search's finalists, found from the ledger's rows alone; the rule's words are in finalists.py. It plans nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling_lab.stats.fronts import Points, crowding_distances, first_front
from scaling_lab.study.ledger.database import TrialRow
from scaling_lab.study.study import Study

Values = Callable[[int, Mapping[str, Any]], list[Any]]


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """An architecture that is to be trained with fresh seeds, as a finalist or as the baseline."""

    architecture: str
    params: dict[str, Any]
    role: str


def choose_finalists(study: Study, rows: Iterable[TrialRow], values: Values) -> list[Finalist]:
    """Give the study's finalists, the best first; `values` gives the objectives of a trial's metrics."""
    assert study.finalists is not None
    groups: dict[str, list[list[float]]] = {}
    params: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row.role == "search" and row.state == "complete":
            groups.setdefault(row.architecture, []).append(values(row.id, row.metrics))
            params.setdefault(row.architecture, row.params)
    if not groups:
        return []
    # Smaller is better from here on.
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in study.objectives.values()]
    points = np.array([np.mean(group, axis=0) for group in groups.values()]) * signs
    digests = [list(groups)[place] for place in itertools.islice(_ranked(points), study.finalists.count)]
    return [Finalist(architecture=digest, params=params[digest], role="finalist") for digest in digests]


def _ranked(points: Points) -> Iterator[int]:
    """Give the places of points, front after front, in each those with the most distant neighbours first."""
    left = np.arange(len(points))
    while len(left):
        front = left[first_front(points[left])]
        yield from front[np.argsort(-crowding_distances(points[front]), kind="stable")].tolist()
        left = np.setdiff1d(left, front)
