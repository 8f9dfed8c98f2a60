"""Compound scaling against single dimensions, from one start to the same budgets (arXiv:1911.09070, Figure 6)."""

from __future__ import annotations

import dataclasses
from typing import Any

from optuna import TrialPruned

from scaling_lab import CompoundScaling, DetectorSpec, count
from scaling_lab.cost.solver import solve
from search_spaces.compound import SMALL

# As in the paper's figure, without the backbone.
DIMENSIONS = {
    "compound": ("backbone", "width", "depth", "heads", "image_size"),
    "image_size": ("image_size",),
    "width": ("width",),
    "depth": ("depth",),
    "heads": ("heads",),
}

# With the small detector's own feature network and heads, 1/8 and 1/7 of its multiply-adds, twice the cost would take 31
# cells; here they are 1/4 and 1/3. Budgets hold for the eight classes of Shapes, whatever a study's data. With two cells and
# two head layers, a P3 feature has a receptive field of 71 px at 128 px, beyond the light of Shapes (57 px). So the start
# may classify small objects without other levels.
START = dataclasses.replace(
    SMALL, base=dataclasses.replace(SMALL.base, width=64, repeats=2, head_repeats=2, num_classes=8), width_factor=1.35
)


def space(
    trial: Any,
    rule: CompoundScaling = START,
    budgets: tuple[float, ...] = (1.0, 1.2, 1.5, 1.8, 2.2),
    alone: tuple[float, ...] = (1.5, 2.2),
    dimensions: tuple[str, ...] = tuple(DIMENSIONS),
) -> DetectorSpec:
    """Return a detector by the scaled dimension and the budget, as a multiple of the start's multiply-adds.

    A budget of 1 is the start itself, in any dimension. Compound scaling has all budgets, for a scaling law; the single
    dimensions have those of `alone`, and other points are pruned.
    """
    dimension = trial.suggest_categorical("dimension", list(dimensions))
    times = trial.suggest_categorical("times_gmacs", list(budgets))
    if dimension != "compound" and times not in alone:
        raise TrialPruned
    if times == 1.0:
        return rule.base
    return solve(rule.only(*DIMENSIONS[dimension]), {"gmacs": times * count(rule.base).gmacs}).spec
