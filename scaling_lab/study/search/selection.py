"""Selects a search's finalists from the ledger's rows, by the rule of finalists.py."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling_lab.metrics import ACCURACIES
from scaling_lab.stats.fronts import by_front
from scaling_lab.study.ledger.database import TrialRow
from scaling_lab.study.study import Study

Values = Callable[[int, Mapping[str, Any]], list[Any]]


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """An architecture to retrain with fresh seeds, as a finalist or as the baseline."""

    architecture: str
    params: dict[str, Any]
    role: str


def choose_finalists(
    study: Study, rows: Iterable[TrialRow], values: Values, believed: Mapping[str, float] | None = None
) -> list[Finalist]:
    """Return the study's finalists, best first; `values` maps a trial's metrics to objectives.

    `believed` has a search's believed values by architecture, instead of the means of its seeds; others are left out.
    """
    assert study.finalists is not None
    groups: dict[str, list[list[float]]] = {}
    params: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row.role == "search" and row.state == "complete":
            groups.setdefault(row.architecture, []).append(values(row.id, row.metrics))
            params.setdefault(row.architecture, row.params)
    if believed is not None:
        groups = {digest: group for digest, group in groups.items() if digest in believed}
    if not groups:
        return []
    # From here on, smaller is better.
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in study.objectives.values()]
    points = np.array([np.mean(group, axis=0) for group in groups.values()])
    if believed is not None:
        (measured,) = (place for place, name in enumerate(study.objectives) if name in ACCURACIES)
        points[:, measured] = [believed[digest] for digest in groups]
    points *= signs
    digests = [list(groups)[place] for place in itertools.islice(by_front(points), study.finalists.count)]
    return [Finalist(architecture=digest, params=params[digest], role="finalist") for digest in digests]
