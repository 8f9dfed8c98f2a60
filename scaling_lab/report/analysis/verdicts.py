"""A test's result in words: one vocabulary for p values and for intervals."""

from __future__ import annotations

import math

from scaling_lab.stats.hypotheses import LEVEL


def verdict(p: float) -> str:
    """Give "distinguishable" for p below LEVEL, "not distinguishable" for the rest, "no claim" for nan."""
    return "no claim" if math.isnan(p) else "distinguishable" if p < LEVEL else "not distinguishable"


def interval_verdict(low: float, high: float) -> str:
    """Give the same words for a difference's interval: whether it excludes 0."""
    return "no claim" if math.isnan(low) else "distinguishable" if low > 0 or high < 0 else "not distinguishable"
