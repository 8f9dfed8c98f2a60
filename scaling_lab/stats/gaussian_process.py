"""A Gaussian process over points in the unit cube whose values are seen with noise, once or several times each.

    seen value = latent value + seed noise,  latent value = smooth function of the point + the point's own effect

Only seeds of one point tell its own effect from noise. Without such seeds, equal priors share the unexplained variance
evenly. Length scales and both variances are maximum a posteriori estimates. The log-normal prior on length scales, wider
in more dimensions, keeps few points from fitting many dimensions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_STEPS = 60
# Prior of the logarithms of both unexplained variances, as shares of the smooth function's: mean and deviation.
_SHARE, _SPREAD = math.log(0.05), 1.5


class GaussianProcess:
    """Fitted to values (N,) at points (A, D) in float64; `places_N` holds each value's point.

    `groups_D` numbers the groups of dimensions that share a length scale, from 0. Points without a value are predicted.
    `pending_A` counts values to come: they narrow the posterior and leave its mean. `start` is a process with as many
    groups, to start the fit from. Shapes: N values, A known points, M points, D dimensions, G groups.
    """

    def __init__(
        self,
        points_AD: Tensor,
        values_N: Tensor,
        places_N: Tensor,
        groups_D: Tensor,
        *,
        pending_A: Tensor | None = None,
        start: GaussianProcess | None = None,
    ) -> None:
        self._points_AD, self._groups_D = points_AD, groups_D
        self._centre, deviation = values_N.mean(), values_N.std(correction=0)
        self._scale = deviation if deviation > 0 else torch.ones((), dtype=torch.float64)
        scaled_N = (values_N - self._centre) / self._scale
        counts_A = torch.bincount(places_N, minlength=len(points_AD)).double()
        self._seen_A = counts_A > 0
        means_A = torch.zeros_like(counts_A).index_add(0, places_N, scaled_N) / counts_A.clamp(min=1)
        self._counts_S, self._means_S, self._number = counts_A[self._seen_A], means_A[self._seen_A], len(values_N)
        self._within = ((scaled_N - means_A[places_N]) ** 2).sum()  # squared deviations between seeds of one point
        groups = int(groups_D.max()) + 1
        # Prior mean of log length scales: distances grow with the square root of the number of groups.
        self._prior = math.log(0.5 * groups**0.5)
        # Log length scales (G,), then the logarithms of the own effects' variance and of the noise's.
        first = torch.tensor([self._prior] * groups + [_SHARE, _SHARE], dtype=torch.float64)
        self.settings: Tensor = self._fitted(first if start is None else start.settings)
        with torch.no_grad():
            _, self._weights_S, variance = self._solved(self.settings)
            self._variance = float(variance * self._scale**2)
            self._own, self._noise = self.settings[-2:].exp().tolist()
            seen_A = counts_A if pending_A is None else counts_A + pending_A
            self._told_A = seen_A > 0
            told_TD = self._scaled(points_AD[self._told_A])
            self._factor_TT = _factor(told_TD, self._own + self._noise / seen_A[self._told_A])

    @property
    def noise(self) -> float:
        """The standard deviation of values between seeds of one point."""
        return math.sqrt(self._variance * self._noise)

    def __call__(self, points_MD: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the standard deviation, both (M,), of latent values at new points (M, D)."""
        return self._predicted(_kernel(self._scaled(points_MD), self._scaled(self._points_AD)))

    def known(self) -> tuple[Tensor, Tensor]:
        """Return the mean and the standard deviation, both (A,), of the known points' latent values."""
        points_AD = self._scaled(self._points_AD)
        return self._predicted(_kernel(points_AD, points_AD) + self._own * _unit(len(points_AD)))

    def _predicted(self, across_MA: Tensor) -> tuple[Tensor, Tensor]:
        mean_M = across_MA[:, self._seen_A] @ self._weights_S
        shrunk_TM = torch.linalg.solve_triangular(self._factor_TT, across_MA[:, self._told_A].T, upper=False)
        variance_M = self._variance * (1 + self._own - (shrunk_TM**2).sum(0)).clamp(min=1e-12)
        return mean_M * self._scale + self._centre, variance_M.sqrt()

    def _scaled(self, points_ND: Tensor, settings: Tensor | None = None) -> Tensor:
        chosen = self.settings if settings is None else settings
        return points_ND / chosen[:-2][self._groups_D].exp()

    def _solved(self, settings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the Cholesky factor (S, S) of the seen points' covariance, their weights (S,), and the best variance."""
        own, noise = settings[-2:].exp()
        factor_SS = _factor(self._scaled(self._points_AD[self._seen_A], settings), own + noise / self._counts_S)
        weights_S = torch.cholesky_solve(self._means_S[:, None], factor_SS)[:, 0]
        # A prior on the variance, equivalent to one more value at 1.
        variance = (self._means_S @ weights_S + self._within / noise + 1) / (self._number + 1)
        return factor_SS, weights_S, variance

    def _loss(self, settings: Tensor) -> Tensor:
        """Return the negative log posterior density of length scales and variances."""
        factor_SS, _, variance = self._solved(settings)
        likelihood = 0.5 * (self._number + 1) * variance.log() + factor_SS.diagonal().log().sum()
        likelihood = likelihood + 0.5 * (self._number - len(self._means_S)) * settings[-1]
        lengths = ((settings[:-2] - self._prior) ** 2).sum() / 2
        return likelihood + lengths + ((settings[-2:] - _SHARE) ** 2).sum() / (2 * _SPREAD**2)

    def _fitted(self, start: Tensor) -> Tensor:
        settings = start.clone().requires_grad_()
        optimizer = torch.optim.LBFGS([settings], max_iter=_STEPS, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = self._loss(settings)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        try:
            optimizer.step(closure)  # type: ignore[no-untyped-call]
        except RuntimeError:  # the step diverged; the previous settings are kept
            return start
        found = settings.detach()
        return found if bool(found.isfinite().all()) else start


def _factor(points_ND: Tensor, diagonal_N: Tensor) -> Tensor:
    """Return the Cholesky factor (N, N) of the kernel with an added diagonal."""
    factor_NN: Tensor = torch.linalg.cholesky(_kernel(points_ND, points_ND) + torch.diag(diagonal_N + 1e-6))
    return factor_NN


def _unit(size: int) -> Tensor:
    return torch.eye(size, dtype=torch.float64)


def _kernel(left_ND: Tensor, right_MD: Tensor) -> Tensor:
    squares_NM = (left_ND**2).sum(1)[:, None] + (right_MD**2).sum(1) - 2 * left_ND @ right_MD.T
    return torch.exp(-0.5 * squares_NM.clamp(min=0))
