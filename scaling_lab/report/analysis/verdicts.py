"""A test's result in words: one vocabulary for p values and for intervals."""

from __future__ import annotations

import math

from scaling_lab.stats.hypotheses import LEVEL


def verdict(p: float) -> str:
    """Give "significant" for p below LEVEL, "not significant" for the rest, "not tested" for nan."""
    return "not tested" if math.isnan(p) else "significant" if p < LEVEL else "not significant"


def interval_verdict(low: float, high: float) -> str:
    """Give the same words for a difference's interval: whether it excludes 0."""
    return "not tested" if math.isnan(low) else "significant" if low > 0 or high < 0 else "not significant"
