"""Posterior samples of the true means of architectures under a hierarchical normal model (Gelman et al., BDA3, 5.4 and 15.2).

The highest of many noisy means is partly luck, so independent samples bias a front upwards. Here the true means scatter
around a curve of log cost with SD tau, and samples are shrunk towards it. Shrinkage is weak where architectures differ much
more than seeds. The curve, tau and the seed SD sigma are sampled too. Priors are flat on the curve, log sigma and sqrt(tau).

Under the model a hypervolume's 95 % interval covers 94 to 96 %; with a long lower tail it covers 90 to 92 %
(reports/results/interval_coverage.csv).

A is architectures, B samples, S values of sigma, T of tau, P coefficients of the curve, N distinct numbers of seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWS, SEED = 2000, 0
MOST_NUMBERS = 5_000_000  # samples times architectures: 40 MB and one second
SIGMAS, TAUS = 100, 60
# The posterior is proper only with three architectures more than the curve has coefficients.
SPARE = 3
FAR = 5.0
STRAIGHT, BENT, TURNED = 8, 10, 16  # numbers of architectures from which the curve has log cost, its square, its cube

Array = NDArray[Any]


def drawn_means(
    groups: Sequence[Sequence[float]],
    *,
    pooled: tuple[float, int],
    costs: Sequence[float] | None = None,
    draws: int | None = None,
    seed: int = SEED,
) -> Array:
    """Sample the true means (B, A) of groups of seeds; `pooled` is (SD, degrees of freedom) over all groups.

    A group of one seed is sampled with the pooled SD. An empty group is nan, and so are all groups without degrees of
    freedom. With fewer than four groups each is sampled independently: mean + t · SD / sqrt(n).
    """
    draws = min(DRAWS, MOST_NUMBERS // max(1, len(groups))) if draws is None else draws
    found_BA = np.full((draws, len(groups)), math.nan)
    counts_A = np.array([len(group) for group in groups], dtype=float)
    means_A = np.array([np.mean(group) if len(group) else math.nan for group in groups], dtype=float)
    known = (counts_A > 0) & np.isfinite(means_A)
    sd, degrees = pooled
    if degrees < 1 or not known.any():
        return found_BA
    random = np.random.default_rng(seed)
    if sd == 0.0:
        found_BA[:, known] = means_A[known]
        return found_BA
    sigmas_S = sd * np.sqrt(
        degrees / np.quantile(random.chisquare(degrees, 20_000), (np.arange(SIGMAS) + 0.5) / SIGMAS)
    )
    y_A, n_A = means_A[known], counts_A[known]
    if len(y_A) < 1 + SPARE:
        sigmas_B = random.choice(sigmas_S, draws)
        found_BA[:, known] = y_A + sigmas_B[:, None] * random.standard_normal((draws, len(y_A))) / np.sqrt(n_A)
        return found_BA
    curve_AP = _curve(None if costs is None else np.asarray(costs, dtype=float)[known], len(y_A))
    found_BA[:, known] = _drawn(y_A, n_A, curve_AP, sigmas_S, draws, random)
    return found_BA


def _curve(costs_A: Array | None, count: int) -> Array:
    """Return the curve's orthonormal columns (A, P): a constant and, with enough architectures, powers of log cost."""
    columns = [np.ones(count)]
    if costs_A is not None and count >= STRAIGHT and (costs_A > 0).all() and np.isfinite(costs_A).all():
        logs_A = np.log(costs_A) - np.log(costs_A).mean()
        different = len(np.unique(costs_A))
        most = 3 if count >= TURNED else 2 if count >= BENT else 1
        columns += [logs_A**power for power in range(1, most + 1) if different > power + 1]
    orthonormal_AP: Array = np.linalg.qr(np.stack(columns, axis=1))[0]
    return orthonormal_AP


def _alike(y_A: Array, curve_AP: Array, errors_A: Array) -> Array:
    """Mark (A,) the architectures that scatter around the curve; outliers, such as failed runs, are not marked.

    An outlier deviates from a least-absolute-deviations curve by five robust SDs and five standard errors.
    """
    if len(y_A) < BENT:
        return np.ones(len(y_A), dtype=bool)
    weights_A = np.ones(len(y_A))
    for _ in range(20):
        roots_A = np.sqrt(weights_A)
        fitted_A = curve_AP @ np.linalg.lstsq(roots_A[:, None] * curve_AP, roots_A * y_A, rcond=None)[0]
        distances_A = np.abs(y_A - fitted_A)
        # The curve passes through as many of them as it has coefficients.
        typical = float(np.median(np.sort(distances_A)[curve_AP.shape[1] :]))
        weights_A = 1.0 / np.maximum(distances_A, 0.05 * typical + 1e-12)
    near_A: Array = distances_A <= FAR * np.maximum(1.4826 * typical, errors_A)
    return near_A


def _drawn(y_A: Array, n_A: Array, curve_AP: Array, sigmas_S: Array, draws: int, random: np.random.Generator) -> Array:
    """Sample (B, A): first sigma and tau, then the curve, then each mean, shrunk from its seeds' mean towards the curve."""
    alike_A = _alike(y_A, curve_AP, float(np.median(sigmas_S)) / np.sqrt(n_A))
    centre = float(y_A[alike_A].mean())
    y_A, curve_MP = y_A - centre, np.linalg.qr(curve_AP[alike_A])[0]
    near_M, size = y_A[alike_A], curve_MP.shape[1]
    spread = math.sqrt(float(((near_M - curve_MP @ (curve_MP.T @ near_M)) ** 2).sum()) / (len(near_M) - size))
    # With fewer architectures, tau may exceed their spread by more. The grid is denser near 0. Each point is weighted by its
    # width and by sqrt(tau): intervals of a flat prior are slightly short where the data say little about tau.
    steps_T = (np.arange(TAUS) + 0.5) / TAUS
    taus_T = (4.0 + 40.0 / (len(near_M) - size)) * spread * steps_T**2
    logs_ST, precision_STPP, projected_STP = _likelihood(near_M, n_A[alike_A], curve_MP, sigmas_S, taus_T)
    weights = (np.exp(logs_ST - logs_ST.max()) * steps_T**2).ravel()
    s_B, t_B = np.divmod(random.choice(len(weights), draws, p=weights / weights.sum()), TAUS)
    roots_BPP = np.linalg.cholesky(precision_STPP[s_B, t_B])
    middle_BP1 = np.linalg.solve(precision_STPP[s_B, t_B], projected_STP[s_B, t_B][..., None])
    noise_BP1 = random.standard_normal((draws, size, 1))
    curves_BM = (middle_BP1 + np.linalg.solve(np.swapaxes(roots_BPP, 1, 2), noise_BP1))[..., 0] @ curve_MP.T
    different_N, places_A = np.unique(n_A, return_inverse=True)
    errors_BN = sigmas_S[s_B][:, None] ** 2 / different_N
    kept_BN = taus_T[t_B][:, None] ** 2 / (taus_T[t_B][:, None] ** 2 + errors_BN)
    drawn_BA: Array = random.standard_normal((draws, len(y_A)))
    for place in range(len(different_N)):
        near, far = alike_A & (places_A == place), ~alike_A & (places_A == place)
        drawn_BA[:, far] *= np.sqrt(errors_BN[:, [place]])
        drawn_BA[:, near] *= np.sqrt(kept_BN * errors_BN)[:, [place]]
        drawn_BA[:, near] += (1.0 - kept_BN[:, [place]]) * curves_BM[:, near[alike_A]] + kept_BN[:, [place]] * y_A[near]
    drawn_BA[:, ~alike_A] += y_A[~alike_A]
    drawn_BA += centre
    return drawn_BA


def _likelihood(y_A: Array, n_A: Array, curve_AP: Array, sigmas_S: Array, taus_T: Array) -> tuple[Array, Array, Array]:
    """Return the log marginal likelihood (S, T), and the precision (S, T, P, P) and projection (S, T, P) of the curve.

    Architectures with equally many seeds have one variance, so sums over them suffice.
    """
    size = curve_AP.shape[1]
    logs_ST = np.zeros((len(sigmas_S), len(taus_T)))
    precision_STPP = np.zeros((*logs_ST.shape, size, size))
    projected_STP = np.zeros((*logs_ST.shape, size))
    for n in np.unique(n_A):
        same = n_A == n
        variance_ST = taus_T**2 + sigmas_S[:, None] ** 2 / n
        logs_ST -= 0.5 * (same.sum() * np.log(variance_ST) + float((y_A[same] ** 2).sum()) / variance_ST)
        precision_STPP += (curve_AP[same].T @ curve_AP[same]) / variance_ST[..., None, None]
        projected_STP += (curve_AP[same].T @ y_A[same]) / variance_ST[..., None]
    middle_STP = np.linalg.solve(precision_STPP, projected_STP[..., None])[..., 0]
    logs_ST += 0.5 * ((projected_STP * middle_STP).sum(axis=-1) - np.linalg.slogdet(precision_STPP)[1])
    return logs_ST, precision_STPP, projected_STP
