"""A saturating power law, AP = a - b · cost^-c, fitted to means, with bands, and what it says of a larger model. No tables.

The law has three parameters, so that four models are the least to fit it; its prediction is worth what the held-out
models say. Beside it stands the plain line AP = a + b · log(cost), which has to be beaten.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEAST = 4
# What c may be: under the least the law is the line in log(cost), beyond the most a step.
EXPONENTS = np.geomspace(0.01, 4.0, 240)

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Law:
    """AP = a - b · (cost / scale)^-c, or, where c is 0, a + b · log(cost / scale); `squares` is the sum of squared residuals."""

    a: float
    b: float
    c: float
    scale: float
    squares: float

    def __call__(self, costs: Sequence[float] | Array) -> Array:
        """Give the AP at each cost."""
        relative = np.asarray(costs, dtype=float) / self.scale
        return self.a + self.b * np.log(relative) if self.c == 0 else self.a - self.b * relative**-self.c

    def aic(self, n: int) -> float:
        """Give Akaike's criterion with its correction for few points; infinite where these are too few to say."""
        parameters = (2 if self.c == 0 else 3) + 1  # the residuals' variance is one
        if n - parameters - 1 <= 0:
            return math.inf
        likelihood = n * math.log(max(self.squares, 1e-12) / n)
        return likelihood + 2 * parameters + 2 * parameters * (parameters + 1) / (n - parameters - 1)


def fit_law(costs: Sequence[float], values: Sequence[float]) -> Law:
    """Fit the saturating law by least squares; b is not below 0, for more cost does not cost AP."""
    return _fit(np.asarray(costs, dtype=float), np.asarray(values, dtype=float))


def fit_line(costs: Sequence[float], values: Sequence[float]) -> Law:
    """Fit AP = a + b · log(cost)."""
    x, y = np.asarray(costs, dtype=float), np.asarray(values, dtype=float)
    scale = float(np.exp(np.log(x).mean()))
    design = np.stack([np.ones_like(x), np.log(x / scale)], axis=1)
    (a, b), *_ = np.linalg.lstsq(design, y, rcond=None)
    return Law(a=float(a), b=float(b), c=0.0, scale=scale, squares=float(((design @ [a, b] - y) ** 2).sum()))


def _fit(x: Array, y: Array) -> Law:
    """Take the best of many exponents, and then the best near it."""
    law = _best_of(x, y, EXPONENTS)
    step = EXPONENTS[1] / EXPONENTS[0]
    near = np.clip(law.c * np.geomspace(1 / step, step, 41), EXPONENTS[0], EXPONENTS[-1])
    return _best_of(x, y, near)


def _best_of(x: Array, y: Array, exponents: Array) -> Law:
    """For each exponent a and b are a line's."""
    scale = float(np.exp(np.log(x).mean()))
    powers_EN = (x / scale) ** -exponents[:, None]
    centred_EN, offsets = powers_EN - powers_EN.mean(axis=1, keepdims=True), y - y.mean()
    slopes_E = np.maximum(0.0, -(centred_EN @ offsets) / (centred_EN**2).sum(axis=1))
    squares_E = ((offsets + slopes_E[:, None] * centred_EN) ** 2).sum(axis=1)
    best = int(np.argmin(squares_E))
    a = float(y.mean() + slopes_E[best] * powers_EN[best].mean())
    return Law(a=a, b=float(slopes_E[best]), c=float(exponents[best]), scale=scale, squares=float(squares_E[best]))


def band(costs: Sequence[float], means_BA: Array, at: Sequence[float] | Array, *, confidence: float = 0.95) -> Array:
    """Give (3, G): the low, median and high AP of the law at each of G costs, over draws (B, A) of the models' means."""
    x, tail = np.asarray(costs, dtype=float), (1.0 - confidence) / 2.0
    curves = np.stack([_fit(x, y)(at) for y in means_BA])
    found: Array = np.quantile(curves, [tail, 0.5, 1.0 - tail], axis=0)
    return found


def left_out(costs: Sequence[float], values: Sequence[float]) -> Array:
    """Give what each model's AP is above its prediction from all the others; nan with fewer than five models."""
    x, y = np.asarray(costs, dtype=float), np.asarray(values, dtype=float)
    if len(x) <= LEAST:
        return np.full(len(x), math.nan)
    found = []
    for place in range(len(x)):
        others = np.arange(len(x)) != place
        found.append(y[place] - float(fit_law(x[others], y[others])([x[place]])[0]))
    return np.array(found)
