"""A test's result in words, from a p-value or an interval."""

from __future__ import annotations

import math

from scaling_lab.stats.hypotheses import LEVEL


def verdict(p: float) -> str:
    """Return "significant" for p below LEVEL, "not significant" otherwise, "not tested" for nan."""
    return "not tested" if math.isnan(p) else "significant" if p < LEVEL else "not significant"


def interval_verdict(low: float, high: float) -> str:
    """Return the verdict of a difference's interval: significant if it excludes 0."""
    return "not tested" if math.isnan(low) else "significant" if low > 0 or high < 0 else "not significant"
