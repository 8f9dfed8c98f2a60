"""The saturating power law AP = a - b · cost^-c: least-squares fit, confidence band, lack of fit, leave-one-out residuals.

It has three parameters and needs four models. The alternative is the line AP = a + b · log(cost). A model's weight is its number
of seeds. N is models, E exponents, G costs of a band.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, stdtrit

LEAST = 4
# Grid of c: below it the law is a line in log(cost), above it a step.
EXPONENTS = np.geomspace(0.01, 4.0, 240)

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Law:
    """AP = a - b · (cost / scale)^-c, or, where c is 0, a + b · log(cost / scale); `squares` is the sum of squared residuals."""

    a: float
    b: float
    c: float
    scale: float
    squares: float

    def __call__(self, costs: Sequence[float] | Array) -> Array:
        """Return the AP at each cost."""
        relative = np.asarray(costs, dtype=float) / self.scale
        return self.a + self.b * np.log(relative) if self.c == 0 else self.a - self.b * relative**-self.c

    def aic(self, n: int) -> float:
        """Return Akaike's criterion, corrected for few points (AICc); infinite where n is too small for it."""
        parameters = (2 if self.c == 0 else 3) + 1  # the residuals' variance is one
        if n - parameters - 1 <= 0:
            return math.inf
        likelihood = n * math.log(max(self.squares, 1e-12) / n)
        return likelihood + 2 * parameters + 2 * parameters * (parameters + 1) / (n - parameters - 1)


def fit_law(costs: Sequence[float], values: Sequence[float], seeds: Sequence[float] | None = None) -> Law:
    """Fit the saturating law by weighted least squares with b >= 0: AP never decreases with cost."""
    x, y, w = _arrays(costs, values, seeds)
    law = _best_of(x, y, w, EXPONENTS)
    return _best_of(x, y, w, _near(law.c))


def fit_line(costs: Sequence[float], values: Sequence[float], seeds: Sequence[float] | None = None) -> Law:
    """Fit AP = a + b · log(cost) by weighted least squares."""
    x, y, w = _arrays(costs, values, seeds)
    scale = float(np.exp(np.log(x).mean()))
    design, roots = np.stack([np.ones_like(x), np.log(x / scale)], axis=1), np.sqrt(w)
    (a, b), *_ = np.linalg.lstsq(roots[:, None] * design, roots * y, rcond=None)
    return Law(a=float(a), b=float(b), c=0.0, scale=scale, squares=float((w * (design @ [a, b] - y) ** 2).sum()))


def _arrays(
    costs: Sequence[float], values: Sequence[float], seeds: Sequence[float] | None
) -> tuple[Array, Array, Array]:
    """Return costs, values and weights; weights have a mean of 1, so that squares are of single models."""
    x, y = np.asarray(costs, dtype=float), np.asarray(values, dtype=float)
    w = np.ones_like(x) if seeds is None else np.asarray(seeds, dtype=float)
    return x, y, w / w.mean()


def _near(exponent: float) -> Array:
    """Return exponents between the neighbours of one of EXPONENTS."""
    step = EXPONENTS[1] / EXPONENTS[0]
    near: Array = np.clip(exponent * np.geomspace(1 / step, step, 41), EXPONENTS[0], EXPONENTS[-1])
    return near


@dataclass(frozen=True, kw_only=True)
class _Lines:
    """For each exponent the weighted line of AP on cost^-exponent: its slope (-b), its means, its sums of squares."""

    powers_EN: Array
    mean_E: Array
    spread_E: Array
    slope_E: Array
    squares_E: Array
    level: float
    flat: float  # the sum of squares around a constant, where b is 0


def _lines(x: Array, y: Array, w: Array, exponents: Array, scale: float) -> _Lines:
    powers_EN = (x / scale) ** -exponents[:, None]
    mean_E, level = (powers_EN * w).sum(axis=1) / w.sum(), float((w * y).sum() / w.sum())
    centred_EN = powers_EN - mean_E[:, None]
    spread_E, shared_E = (w * centred_EN**2).sum(axis=1), (w * centred_EN * (y - level)).sum(axis=1)
    flat, slope_E = float((w * (y - level) ** 2).sum()), shared_E / spread_E
    squares_E = (w * (y - level - slope_E[:, None] * centred_EN) ** 2).sum(axis=1)
    return _Lines(
        powers_EN=powers_EN,
        mean_E=mean_E,
        spread_E=spread_E,
        slope_E=slope_E,
        squares_E=squares_E,
        level=level,
        flat=flat,
    )


def _best_of(x: Array, y: Array, w: Array, exponents: Array) -> Law:
    """Return the best law over the exponents; at each, a and b are those of a line."""
    scale = float(np.exp(np.log(x).mean()))
    lines = _lines(x, y, w, exponents, scale)
    slopes_E = np.maximum(0.0, -lines.slope_E)
    squares_E = np.where(lines.slope_E < 0, lines.squares_E, lines.flat)
    best = int(np.argmin(squares_E))
    a = float(lines.level + slopes_E[best] * lines.mean_E[best])
    return Law(a=a, b=float(slopes_E[best]), c=float(exponents[best]), scale=scale, squares=float(squares_E[best]))


def band(
    costs: Sequence[float],
    values: Sequence[float],
    at: Sequence[float] | Array,
    *,
    seeds: Sequence[float],
    pooled: tuple[float, int],
    training_runs: int | None = None,
    confidence: float = 0.95,
) -> Array:
    """Return the law's profile-likelihood interval (2, G) at each of G costs; `pooled` is (seed SD, degrees of freedom).

    An AP is in the interval if the F test with 1 and these degrees does not reject the best law through it (Seber and Wild,
    Nonlinear Regression, 1989, section 5.4). With `training_runs`, it is the prediction interval of the mean of that many
    training runs of a further model at that cost.
    """
    x, y, w = _arrays(costs, values, seeds)
    law = fit_law(costs, values, seeds)
    exponents = np.concatenate([EXPONENTS, _near(law.c), [law.c]])
    lines = _lines(x, y, w, exponents, law.scale)
    each = float(np.mean(np.asarray(seeds, dtype=float)))  # the number of seeds for a weight of 1
    more = float(stdtrit(pooled[1], 0.5 + confidence / 2.0)) ** 2 * pooled[0] ** 2 / each
    further = 0.0 if training_runs is None else each / training_runs
    powers_EG = (np.asarray(at, dtype=float) / law.scale) ** -exponents[:, None]
    off_EG = powers_EG - lines.mean_E[:, None]
    middle_EG = lines.level + lines.slope_E[:, None] * off_EG
    room_E1 = (law.squares + more - lines.squares_E)[:, None]
    reach_EG = np.sqrt(np.maximum(room_E1, 0.0) * (1.0 / w.sum() + off_EG**2 / lines.spread_E[:, None] + further))
    low_EG, high_EG = middle_EG - reach_EG, middle_EG + reach_EG
    allowed_EG = np.broadcast_to(room_E1 >= 0, low_EG.shape) & (lines.slope_E <= 0)[:, None]
    # A constant is also a law, for any exponent.
    flat = math.sqrt(max(law.squares + more - lines.flat, 0.0) * (1.0 / w.sum() + further))
    low_G = np.where(allowed_EG, low_EG, math.inf).min(axis=0)
    high_G = np.where(allowed_EG, high_EG, -math.inf).max(axis=0)
    if law.squares + more >= lines.flat:
        low_G, high_G = np.minimum(low_G, lines.level - flat), np.maximum(high_G, lines.level + flat)
    return np.stack([low_G, high_G])


def misfit_p(law: Law, seeds: Sequence[float], pooled: tuple[float, int]) -> float:
    """Return the p of the F test for lack of fit against the seed SD; nan with three models or without degrees or spread."""
    first, second = len(seeds) - 3, pooled[1]
    if first < 1 or second < 1 or pooled[0] == 0:
        return math.nan
    ratio = law.squares * float(np.mean(np.asarray(seeds, dtype=float))) / first / pooled[0] ** 2
    return float(fdtrc(first, second, ratio))


def left_out(costs: Sequence[float], values: Sequence[float], seeds: Sequence[float] | None = None) -> Array:
    """Return the leave-one-out residual (N,) of each model: its AP minus the prediction of the others; nan below five models."""
    x, y, w = _arrays(costs, values, seeds)
    if len(x) <= LEAST:
        return np.full(len(x), math.nan)
    found = []
    for place in range(len(x)):
        others = np.arange(len(x)) != place
        found.append(y[place] - float(fit_law(x[others], y[others], w[others])([x[place]])[0]))
    return np.array(found)
