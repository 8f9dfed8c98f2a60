"""The prediction of a new value by linear regression on one variable."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

Values = NDArray[np.float64]
EXACT = 1e-9  # a relative standard deviation that counts as rounding


def chance_above(level: float, at: float, *, x_N: Values, y_N: Values) -> float:
    """Return the probability that a new y at x = `at` is above `level`, from N ≥ 3 pairs with independent normal errors.

    By the t-distribution of the prediction with N - 2 degrees of freedom (Draper and Smith, Applied Regression Analysis,
    3rd ed., section 3.1). Where all x are equal, the mean of y predicts, with N - 1.
    """
    count, mean_x, mean_y = len(x_N), x_N.mean(), y_N.mean()
    squares = float(((x_N - mean_x) ** 2).sum())
    slope = float(((x_N - mean_x) * (y_N - mean_y)).sum()) / squares if squares else 0.0
    freedom = count - 2 if squares else count - 1
    rest = float(((y_N - mean_y - slope * (x_N - mean_x)) ** 2).sum()) / freedom
    spread = rest * (1 + 1 / count + ((at - mean_x) ** 2 / squares if squares else 0.0))
    margin = mean_y + slope * (at - mean_x) - level
    return float(stdtr(freedom, margin / max(np.sqrt(spread), EXACT * max(1.0, abs(level)))))
