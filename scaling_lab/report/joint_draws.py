"""What the means of several runs may truly be, with the luck of the best drawn in. It reads no tables.

uncertainty.drawn_means supposes nothing of a mean beforehand. Then the best of many stands high twice, by the luck of its
seeds and by that of the draw, and of two runs that are equally good the one with more architectures has the higher front.
So here each architecture's truth is supposed to scatter about its run's trend by cost, as far as the run's own means show,
and draws lean towards that trend where seeds say little (a normal model with estimated scatter: Efron and Morris 1975). Where
truths scatter upwards far more than downwards, it draws the best in too far.

A is architectures, B draws, P the trend's coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling_lab.report.uncertainty import DRAWS, SEED

MOST_NUMBERS = 5_000_000  # of draws times architectures: 40 MB, and three times that on the way
LEAST_LINE, LEAST_CURVE = 4, 10  # architectures: fewer of them scatter about their mean, fewer about a line
TINY = 1e-12

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Means:
    """A run's architectures: their costs, mean APs and numbers of seeds (A,).

    Architectures of two runs that have the same `keys` have the same trainings, so their draws have the same luck.
    """

    costs: Array
    means: Array
    counts: Array
    keys: Array


def drawn_truths(
    runs: Sequence[Means], *, pooled: tuple[float, int], draws: int | None = None, seed: int = SEED
) -> list[Array]:
    """Draw (B, A) for each run; `pooled` is (SD, degrees) of the seeds of all. Without degrees, nan."""
    total = max(1, sum(len(run.means) for run in runs))
    draws = max(100, min(DRAWS, MOST_NUMBERS // total)) if draws is None else draws
    sd, degrees = pooled
    if degrees < 1:
        return [np.full((draws, len(run.means)), np.nan) for run in runs]
    random = np.random.default_rng(seed)
    noise_B = sd**2 * degrees / random.chisquare(degrees, draws)
    designs = [_design(run) for run in runs]
    scatter_B = _scatter(runs, designs, noise_B, random)
    luck_BK = random.standard_normal(
        (draws, 1 + max((int(run.keys.max()) for run in runs if len(run.keys)), default=0))
    )
    return [
        _truths(run, design, noise_B, scatter_B, luck_BK, random) for run, design in zip(runs, designs, strict=True)
    ]


def _design(run: Means) -> Array:
    """Give (A, P): a constant, a line or a parabola in the log of the cost, as far as the architectures bear it."""
    logs_A = np.log(run.costs)
    width = float(np.ptp(logs_A)) if len(logs_A) else 0.0
    scaled_A = (logs_A - logs_A.mean()) / width if width > 0 else np.zeros(len(logs_A))
    most = 3 if len(logs_A) >= LEAST_CURVE else 2 if len(logs_A) >= LEAST_LINE else 1
    return np.vander(scaled_A, min(most, max(1, len(np.unique(logs_A)))), increasing=True)


def _scatter(runs: Sequence[Means], designs: Sequence[Array], noise_B: Array, random: np.random.Generator) -> Array:
    """Draw (B,) the variance of the truths about their trends: what the means scatter beyond the noise of their seeds."""
    squares, share, degrees = 0.0, 0.0, 0
    for run, design in zip(runs, designs, strict=True):
        if len(run.means) <= design.shape[1]:
            continue
        basis, _ = np.linalg.qr(design)
        squares += float(((run.means - basis @ (basis.T @ run.means)) ** 2).sum())
        share += float(((1.0 - (basis**2).sum(axis=1)) / run.counts).sum())
        degrees += len(run.means) - design.shape[1]
    if degrees == 0:  # nothing shows how they scatter: no trend is leant on
        return np.full(len(noise_B), np.inf)
    whole_B: Array = squares / random.chisquare(degrees, len(noise_B))
    return np.clip(whole_B - noise_B * share / degrees, 0.0, None)


def _truths(
    run: Means, design: Array, noise_B: Array, scatter_B: Array, luck_BK: Array, random: np.random.Generator
) -> Array:
    """Draw (B, A): each truth between the trend and the mean, the nearer to the mean the less seeds and truths scatter."""
    if not len(run.means):
        return np.empty((len(noise_B), 0))
    errors_BA = noise_B[:, None] / run.counts
    if not np.isfinite(scatter_B).all():
        alone_BA: Array = run.means + np.sqrt(errors_BA) * luck_BK[:, run.keys]
        return alone_BA
    trend_BA = _trend(run, design, noise_B, scatter_B, random) @ design.T
    kept_BA = scatter_B[:, None] / (scatter_B[:, None] + errors_BA + TINY)
    truths_BA: Array = trend_BA + kept_BA * (run.means - trend_BA) + np.sqrt(kept_BA * errors_BA) * luck_BK[:, run.keys]
    return truths_BA


def _trend(run: Means, design: Array, noise_B: Array, scatter_B: Array, random: np.random.Generator) -> Array:
    """Draw (B, P) the trend's coefficients: weighted least squares with the uncertainty of its own."""
    draws, width = len(noise_B), design.shape[1]
    square_BPP, right_BP = np.zeros((draws, width, width)), np.zeros((draws, width))
    for count in np.unique(run.counts):
        same = run.counts == count
        weight_B = 1.0 / (scatter_B + noise_B / count + TINY)
        square_BPP += weight_B[:, None, None] * (design[same].T @ design[same])
        right_BP += weight_B[:, None] * (design[same].T @ run.means[same])
    root_BPP = np.linalg.cholesky(np.linalg.inv(square_BPP))
    best_BP = np.linalg.solve(square_BPP, right_BP[:, :, None])[:, :, 0]
    drawn_BP: Array = best_BP + np.einsum("bpq,bq->bp", root_BPP, random.standard_normal((draws, width)))
    return drawn_BP
