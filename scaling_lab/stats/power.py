"""The power of a comparison of two means: the smallest detectable difference and the seeds that a difference needs."""

from __future__ import annotations

import math

from scipy.special import nctdtrinc, stdtrit


def smallest_detectable(sd: float, n_first: int, n_second: int, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """Give the smallest true difference that a two-sided t test finds with this power; nan below two seeds on a side.

    The test assumes equal SDs. Welch's test does not, and needs a larger difference: 15 % at three seeds a side, 50 % at
    three against ten, twice as much at two. A significant result in the wrong direction does not count as found.
    """
    if n_first < 2 or n_second < 2:
        return math.nan
    degrees = n_first + n_second - 2
    noncentrality = float(nctdtrinc(degrees, 1.0 - power, stdtrit(degrees, 1.0 - alpha / 2.0)))
    return noncentrality * sd * math.sqrt(1.0 / n_first + 1.0 / n_second)


def seeds_needed(difference: float, sd: float, *, most: int = 1000) -> int | None:
    """Give the seeds on each side with which a difference of this size is found; None if more than `most`."""
    if smallest_detectable(sd, most, most) > abs(difference):
        return None
    low, high = 1, most  # too few, enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if smallest_detectable(sd, middle, middle) <= abs(difference) else (middle, high)
    return high
