"""Encodes points and their costs for a process: in the unit cube, with groups of dimensions."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from scaling_lab.metrics import MAIN_COUNTED

Params = Mapping[str, Any]
Costs = Mapping[str, float]


def encoded(points: Sequence[tuple[Params, Costs]], *, logs: Collection[str] = ()) -> tuple[Tensor, Tensor]:
    """Return points (N, D) in the unit cube, and the group (D,) of each dimension: one for each parameter and each cost.

    Numbers, also those of a categorical parameter, are scaled by their range; those in `logs` by the range of their
    logarithms. Other values are one-hot with entries 0 and sqrt(1/2), so that two different ones have distance 1. A
    missing parameter is 0.5, or all zeros.
    """
    names = sorted({name for params, _ in points for name in params})
    columns = [_encoded([params.get(name) for params, _ in points], log=name in logs) for name in names]
    columns += [_scaled([costs[name] for _, costs in points], log=True) for name in MAIN_COUNTED]
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
