"""Compound scaling against each dimension alone, from one start to the same budgets (arXiv:1911.09070, Figure 6)."""

from __future__ import annotations

import dataclasses
from typing import Any

from optuna import TrialPruned

from scaling_lab import CompoundScaling, DetectorSpec, count
from scaling_lab.cost.solver import solve
from search_spaces.compound import SMALL

# In the paper's figure: image size, channels, BiFPN layers and box/class layers; the backbone is not scaled alone there.
DIMENSIONS = {
    "compound": ("backbone", "width", "depth", "heads", "image_size"),
    "image_size": ("image_size",),
    "width": ("width",),
    "depth": ("depth",),
    "heads": ("heads",),
}

# With the small detector's own feature network and heads, an eighth and a seventh of its multiply-adds, twice the cost would
# take 31 cells; here they are a quarter and a third. Budgets hold for the eight classes of Shapes, whatever a study has. With two
# cells and two layers of heads a feature at P3 sees 71 px far, which at 128 px is beyond the light of Shapes (57 px): the start
# may need no other level to tell small objects' classes.
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
    """Choose the dimension and how many times the start's multiply-adds may be spent; all of it is, as far as rounding lets.

    A budget of 1 is the start itself, in any dimension. Compound scaling has all budgets, for a law; the others have those of
    `alone`, and other points are left out.
    """
    dimension = trial.suggest_categorical("dimension", list(dimensions))
    times = trial.suggest_categorical("times_gmacs", list(budgets))
    if dimension != "compound" and times not in alone:
        raise TrialPruned
    if times == 1.0:
        return rule.base
    return solve(rule.only(*DIMENSIONS[dimension]), {"gmacs": times * count(rule.base).gmacs}).spec
