"""Sampler "ehvi": trains the candidate with the most expected hypervolume improvement.

Costs are known before a trial. A Gaussian process models the one trained objective from a point's parameters and its
architecture's costs. Optuna's samplers, which learn of costs only after a trial, must model the costs too.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scaling_lab.metrics import ACCURACIES, COUNTED, METRICS
from scaling_lab.stats.fronts import first_front
from scaling_lab.stats.hypervolume import expected_improvement
from scaling_lab.study.ledger.database import Architecture, TrialRow
from scaling_lab.study.search.candidates import Candidate, Candidates, Params
from scaling_lab.study.search.gaussian_process import GaussianProcess
from scaling_lab.study.search.strategy import END, Desk, Strategy

# Number of random trials at the start, as in Optuna's samplers.
STARTUP, LEAST_COMPLETE = 10, 3
# Fitting more points takes minutes; the best and the latest are modelled.
MOST_MODELLED = 400
# After this many samples without a new architecture, the space counts as exhausted.
MOST_DRAWS = 20
_COSTS = tuple(name for name in COUNTED if METRICS[name].is_main)


class Ehvi(Strategy):
    """Chooses the candidate with the most expected hypervolume improvement."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        study = desk.study
        self._study, self._architecture = study, desk.architecture
        self._candidates = Candidates(study.space, desk.within_limits, seed=desk.seed)
        self._chance = random.Random(desk.seed)
        (self._measured,) = (name for name in study.objectives if name in ACCURACIES)
        self._counted = [name for name in study.objectives if name not in ACCURACIES]
        self._refused: set[str] = set()
        self._process: GaussianProcess | None = None

    def refuse(self, digest: str) -> None:
        """Drop an architecture that a limit rejected after it was chosen."""
        self._refused.add(digest)

    def choose(self, rows: Iterable[TrialRow]) -> Params | str:
        """Return the next point to train; END where no new architecture is left."""
        rows = [row for row in rows if row.role == "search"]
        complete = [row for row in rows if row.state == "complete" and row.metrics.get(self._measured) is not None]
        stopped = [row for row in rows if row.state == "stopped"]
        best = self._best(complete)
        fresh = self._fresh(rows, near=[row.params for row in best])
        if not fresh:
            return END
        if len(complete) + len(stopped) < STARTUP or len(complete) < LEAST_COMPLETE:
            return self._chance.choice(fresh).params
        if len(complete) + len(stopped) > MOST_MODELLED:
            best = best[: MOST_MODELLED // 2]
            latest = sorted([*complete, *stopped], key=lambda row: row.id)[len(best) - MOST_MODELLED :]
            kept = {row.id for row in (*best, *latest)}
            complete, stopped = ([row for row in group if row.id in kept] for group in (complete, stopped))
        running = [row for row in rows if row.state in ("planned", "running")]
        gains = self._gains(fresh, complete, stopped, running)
        return fresh[int(gains.argmax())].params

    def _fresh(self, rows: Sequence[TrialRow], *, near: Sequence[Params]) -> list[Candidate]:
        """Return candidates of new architectures; if there are none, those with an unused seed."""
        had = Counter(row.architecture for row in rows)
        allowed: list[Candidate] = []
        for _ in range(MOST_DRAWS):
            self._candidates.draw(near=near)
            allowed = [each for each in self._candidates if each.architecture.digest not in self._refused]
            fresh = [each for each in allowed if each.architecture.digest not in had]
            if fresh:
                return fresh
        return [each for each in allowed if had[each.architecture.digest] < len(self._study.seeds)]

    # --- known values ---

    def _value(self, row: TrialRow) -> float:
        sign = 1.0 if self._study.objectives[self._measured] == "maximize" else -1.0
        return sign * float(row.metrics[self._measured])

    def _costs(self, architecture: Architecture) -> list[float]:
        """Return the known objectives, signed so that smaller is better."""
        signs = {"minimize": 1.0, "maximize": -1.0}
        return [signs[self._study.objectives[name]] * architecture.costs[name] for name in self._counted]

    def _best(self, complete: Sequence[TrialRow]) -> list[TrialRow]:
        """Return the non-dominated trials, the largest value first."""
        if not complete:
            return []
        points = [[-self._value(row), *self._costs(self._architecture(row.architecture))] for row in complete]
        front = [complete[place] for place in first_front(np.array(points))]
        return sorted(front, key=self._value, reverse=True)

    # --- expected improvement ---

    def _gains(
        self,
        fresh: Sequence[Candidate],
        complete: Sequence[TrialRow],
        stopped: Sequence[TrialRow],
        running: Sequence[TrialRow],
    ) -> NDArray[np.float64]:
        ended, known = [*complete, *stopped], [*complete, *stopped, *running]
        architectures = [self._architecture(row.architecture) for row in known]
        points = [(row.params, each) for row, each in zip(known, architectures, strict=True)]
        candidates = [(each.params, each.architecture) for each in fresh]
        points_ND, groups_D = encoded([*points, *candidates], logs=self._candidates.logs)
        ended_ND, running_ND, fresh_ND = torch.split(points_ND, [len(ended), len(running), len(fresh)])
        values = [self._value(row) for row in complete]
        # Stopped trials were worse than others at the same epoch; their final value is unknown.
        values_N = torch.tensor([*values, *[min(values)] * len(stopped)], dtype=torch.float64)
        self._process = process = GaussianProcess(ended_ND, values_N, groups_D, start=self._start(groups_D))
        mean_M, deviation_M = process(fresh_ND)
        # Running trials count with their expected value, or concurrent proposals would be alike.
        known_N = torch.cat([values_N, process(running_ND)[0]])
        costs_NC, costs_MC = (
            np.array([self._costs(each) for each in group], dtype=float).reshape(len(group), -1)
            for group in (architectures, [each.architecture for each in fresh])
        )
        return expected_improvement(
            mean_M.numpy(),
            deviation_M.numpy(),
            costs_MC,
            values_N=known_N.numpy(),
            known_costs_NC=costs_NC,
            reference=float(values_N.min()),
            reference_costs_C=np.concatenate([costs_NC, costs_MC]).max(axis=0),
        )

    def _start(self, groups_D: Tensor) -> GaussianProcess | None:
        """Return the last process if its number of groups is the same."""
        same = self._process is not None and len(self._process.settings) == int(groups_D.max()) + 2
        return self._process if same else None


def encoded(points: Sequence[tuple[Params, Architecture]], *, logs: Collection[str] = ()) -> tuple[Tensor, Tensor]:
    """Return points (N, D) in the unit cube, and the group (D,) of each dimension: one for each parameter and each cost.

    Numbers, also those of a categorical parameter, are scaled by their range; those in `logs` by the range of their
    logarithms. Other values are one-hot with entries 0 and sqrt(1/2), so that two different ones have distance 1. A
    missing parameter is 0.5, or all zeros.
    """
    names = sorted({name for params, _ in points for name in params})
    columns = [_encoded([params.get(name) for params, _ in points], log=name in logs) for name in names]
    columns += [_scaled([architecture.costs[name] for _, architecture in points], log=True) for name in _COSTS]
    columns = [group for group in columns if group] or [[[0.0] * len(points)]]
    groups_D = torch.tensor([index for index, group in enumerate(columns) for _ in group])
    points_DN = torch.tensor([column for group in columns for column in group], dtype=torch.float64)
    return points_DN.T.contiguous(), groups_D


def _encoded(values: Sequence[Any], *, log: bool) -> list[list[float]]:
    there = {repr(value): value for value in values if value is not None}
    if len(there) > 2 and all(isinstance(value, (int, float)) for value in there.values()):
        return _scaled(values, log=log)
    if len(there) == 1 and None not in values:
        return []
    written = [repr(value) for value in values]
    return [[0.5**0.5 * (value == each) for value in written] for each in sorted(there)]


def _scaled(values: Sequence[float | None], *, log: bool = False) -> list[list[float]]:
    numbers = [None if value is None else math.log(value) if log and value > 0 else float(value) for value in values]
    there = [number for number in numbers if number is not None]
    low, high = min(there), max(there)
    if low == high and None not in numbers:
        return []
    return [[0.5 if number is None or low == high else (number - low) / (high - low) for number in numbers]]
