"""A Gaussian process over points in the unit cube, with one length scale for each group of dimensions.

The kernel is a squared exponential plus white noise. Length scales and noise are maximum a posteriori estimates. The
log-normal prior on length scales, wider in more dimensions, keeps few points from fitting many dimensions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_STEPS = 60


class GaussianProcess:
    """Fitted to points (N, D) and values (N,) in float64; `groups_D` numbers the groups that share a length scale, from 0.

    `start` is a process with as many groups, to start the fit from. Shapes: N, M points, D dimensions, G groups.
    """

    def __init__(
        self, points_ND: Tensor, values_N: Tensor, groups_D: Tensor, start: GaussianProcess | None = None
    ) -> None:
        self._points_ND, self._groups_D = points_ND, groups_D
        self._mean, deviation = values_N.mean(), values_N.std(correction=0)
        self._scale = deviation if deviation > 0 else torch.ones((), dtype=torch.float64)
        self._values_N = (values_N - self._mean) / self._scale
        groups = int(groups_D.max()) + 1
        self._prior = math.log(
            0.5 * groups**0.5
        )  # prior mean of log length scales: distances grow with the square root of the number of groups
        # Log length scales (G,), then log noise.
        first = torch.tensor([self._prior] * groups + [math.log(0.1)], dtype=torch.float64)
        self.settings: Tensor = self._fitted(first if start is None else start.settings)
        with torch.no_grad():
            self._factor_NN, self._weights_N, self._variance = self._solved(self.settings)

    def __call__(self, points_MD: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the standard deviation, both (M,), of values at points (M, D), including noise."""
        lengths_D, noise = self.settings[:-1][self._groups_D].exp(), self.settings[-1].exp()
        across_MN = _kernel(points_MD / lengths_D, self._points_ND / lengths_D)
        mean_M = across_MN @ self._weights_N
        shrunk_NM = torch.linalg.solve_triangular(self._factor_NN, across_MN.T, upper=False)
        variance_M = self._variance * (1 + noise - (shrunk_NM**2).sum(0)).clamp(min=1e-12)
        return mean_M * self._scale + self._mean, variance_M.sqrt() * self._scale

    def _solved(self, settings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the Cholesky factor (N, N) of the covariance, the points' weights (N,), and the best variance."""
        scaled_ND = self._points_ND / settings[:-1][self._groups_D].exp()
        noise = settings[-1].exp() + 1e-6
        covariance_NN = _kernel(scaled_ND, scaled_ND) + noise * torch.eye(len(scaled_ND), dtype=torch.float64)
        factor_NN = torch.linalg.cholesky(covariance_NN)
        weights_N = torch.cholesky_solve(self._values_N[:, None], factor_NN)[:, 0]
        # A prior on the variance, equivalent to one more point at 1.
        variance = (self._values_N @ weights_N + 1) / (len(weights_N) + 1)
        return factor_NN, weights_N, variance

    def _loss(self, settings: Tensor) -> Tensor:
        """Return the negative log posterior density of length scales and noise."""
        factor_NN, _, variance = self._solved(settings)
        count = len(self._values_N)
        likelihood = 0.5 * (count + 1) * variance.log() + factor_NN.diagonal().log().sum()
        lengths = ((settings[:-1] - self._prior) ** 2).sum() / 2
        noise = (settings[-1] - math.log(0.05)) ** 2 / (2 * 1.5**2)
        return likelihood + lengths + noise

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


def _kernel(left_ND: Tensor, right_MD: Tensor) -> Tensor:
    squares_NM = (left_ND**2).sum(1)[:, None] + (right_MD**2).sum(1) - 2 * left_ND @ right_MD.T
    return torch.exp(-0.5 * squares_NM.clamp(min=0))
