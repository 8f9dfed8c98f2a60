"""The paper's grid search: the growth factor of the width with phi (arXiv:1911.09070, section 4.2)."""

from __future__ import annotations

import dataclasses
from typing import Any

from scaling_lab import CompoundScaling, DetectorSpec
from search_spaces.compound import ONE_CELL, SMALL

START = dataclasses.replace(SMALL, base=ONE_CELL)
FACTORS = [1.2, 1.25, 1.3, 1.35, 1.4, 1.45]


def space(trial: Any, rule: CompoundScaling = START, phis: tuple[float, ...] = (1.0,)) -> DetectorSpec:
    """Return a detector by phi and the width factor, which has no effect at phi = 0."""
    phi = trial.suggest_categorical("phi", list(phis))
    factor = trial.suggest_categorical("width_factor", FACTORS)
    # Multiples of 8 would give neighbouring factors the same detector at these widths.
    return dataclasses.replace(rule, width_factor=factor, width_multiple=1).spec(phi)
