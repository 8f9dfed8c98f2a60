"""A Gaussian process over points in the unit cube whose values are seen with noise, once or several times each.

    seen value = latent value + seed noise,  latent value = smooth function of the point + the point's own effect
                                                            + a multiple of each trend

A trend is a guess at the latent values, on any scale. Its multiple has a normal prior of mean 0, so it may be negative, and
its standard deviation is estimated: that of a useless trend shrinks.

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
# Prior of the logarithm of a multiple's deviation, in units of the smooth function's: mean 0 and this deviation.
_TREND_SPREAD = 1.5


class GaussianProcess:
    """Fitted to values (N,) at points (A, D + K) in float64; `places_N` holds each value's point.

    `groups_D` numbers the groups of dimensions that share a length scale, from 0. The last K columns are trends. Points
    without a value are predicted. `pending_A` counts values to come: they narrow the posterior and leave its mean. `start`
    is a process with as many groups and trends, to start the fit from. Shapes: N values, A known points, M points,
    D dimensions, G groups, K trends, E = D + K.
    """

    def __init__(
        self,
        points_AE: Tensor,
        values_N: Tensor,
        places_N: Tensor,
        groups_D: Tensor,
        *,
        pending_A: Tensor | None = None,
        start: GaussianProcess | None = None,
    ) -> None:
        self._groups_D, self._dimensions = groups_D, len(groups_D)
        self.centre, deviation = values_N.mean(), values_N.std(correction=0)
        self.scale = deviation if deviation > 0 else torch.ones((), dtype=torch.float64)
        scaled_N = (values_N - self.centre) / self.scale
        counts_A = torch.bincount(places_N, minlength=len(points_AE)).double()
        self._seen_A = counts_A > 0
        means_A = torch.zeros_like(counts_A).index_add(0, places_N, scaled_N) / counts_A.clamp(min=1)
        self._counts_S, self._means_S, self._number = counts_A[self._seen_A], means_A[self._seen_A], len(values_N)
        self._within = ((scaled_N - means_A[places_N]) ** 2).sum()  # squared deviations between seeds of one point
        self._groups = groups = int(groups_D.max()) + 1
        # Prior mean of log length scales: distances grow with the square root of the number of groups.
        self._prior = math.log(0.5 * groups**0.5)
        # Trends are centred as values are: their multiples explain differences alone.
        self._centre_E = torch.zeros(points_AE.shape[1], dtype=torch.float64)
        self._centre_E[self._dimensions :] = points_AE[places_N, self._dimensions :].mean(0)
        self._points_AE = points_AE - self._centre_E
        # Log length scales (G,), log deviations of the trends' multiples (K,), then the logarithms of two variances: the
        # own effects' and the noise's.
        first = torch.zeros(groups + points_AE.shape[1] - self._dimensions + 2, dtype=torch.float64)
        first[:groups], first[-2:] = self._prior, _SHARE
        self.settings: Tensor = self._fitted(first if start is None else start.settings)
        with torch.no_grad():
            _, self._weights_S, variance = self._solved(self.settings)
            self._variance = float(variance * self.scale**2)
            self._own, self._noise = self.settings[-2:].exp().tolist()
            seen_A = counts_A if pending_A is None else counts_A + pending_A
            self._told_A = seen_A > 0
            told_TE = self._scaled(self._points_AE[self._told_A])
            self._factor_TT = self._factor(told_TE, self._own + self._noise / seen_A[self._told_A])

    @property
    def noise(self) -> float:
        """The standard deviation of values between seeds of one point."""
        return math.sqrt(self._variance * self._noise)

    @property
    def multiples(self) -> Tensor:
        """The posterior means (K,) of the trends' multiples."""
        variance_K = self.settings[self._groups : -2].exp() ** 2
        return variance_K * (self._points_AE[self._seen_A, self._dimensions :].T @ self._weights_S) * self.scale

    def __call__(self, points_ME: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the standard deviation, both (M,), of latent values at new points (M, E)."""
        points_ME = self._scaled(points_ME - self._centre_E)
        return self._predicted(points_ME, self._kernel(points_ME, self._scaled(self._points_AE)))

    def known(self) -> tuple[Tensor, Tensor]:
        """Return the mean and the standard deviation, both (A,), of the known points' latent values."""
        points_AE = self._scaled(self._points_AE)
        return self._predicted(points_AE, self._kernel(points_AE, points_AE) + self._own * _unit(len(points_AE)))

    def _predicted(self, points_ME: Tensor, across_MA: Tensor) -> tuple[Tensor, Tensor]:
        mean_M = across_MA[:, self._seen_A] @ self._weights_S
        shrunk_TM = torch.linalg.solve_triangular(self._factor_TT, across_MA[:, self._told_A].T, upper=False)
        prior_M = 1 + self._own + (points_ME[:, self._dimensions :] ** 2).sum(1)
        variance_M = self._variance * (prior_M - (shrunk_TM**2).sum(0)).clamp(min=1e-12)
        return mean_M * self.scale + self.centre, variance_M.sqrt()

    def _scaled(self, points_NE: Tensor, settings: Tensor | None = None) -> Tensor:
        """Return points in units of length scales, and trends in units of their multiples' deviations."""
        chosen = self.settings if settings is None else settings
        lengths_D, multiples_K = chosen[: self._groups][self._groups_D].exp(), chosen[self._groups : -2].exp()
        points_ND, trends_NK = points_NE[:, : self._dimensions], points_NE[:, self._dimensions :]
        return torch.cat([points_ND / lengths_D, trends_NK * multiples_K], dim=1)

    def _kernel(self, left_NE: Tensor, right_ME: Tensor) -> Tensor:
        trends_NM = left_NE[:, self._dimensions :] @ right_ME[:, self._dimensions :].T
        return _smooth(left_NE[:, : self._dimensions], right_ME[:, : self._dimensions]) + trends_NM

    def _factor(self, points_NE: Tensor, diagonal_N: Tensor) -> Tensor:
        """Return the Cholesky factor (N, N) of the kernel with an added diagonal."""
        factor_NN: Tensor = torch.linalg.cholesky(self._kernel(points_NE, points_NE) + torch.diag(diagonal_N + 1e-6))
        return factor_NN

    def _solved(self, settings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the Cholesky factor (S, S) of the seen points' covariance, their weights (S,), and the best variance."""
        own, noise = settings[-2:].exp()
        factor_SS = self._factor(self._scaled(self._points_AE[self._seen_A], settings), own + noise / self._counts_S)
        weights_S = torch.cholesky_solve(self._means_S[:, None], factor_SS)[:, 0]
        # A prior on the variance, equivalent to one more value at 1.
        variance = (self._means_S @ weights_S + self._within / noise + 1) / (self._number + 1)
        return factor_SS, weights_S, variance

    def _loss(self, settings: Tensor) -> Tensor:
        """Return the negative log posterior density of length scales and variances."""
        factor_SS, _, variance = self._solved(settings)
        likelihood = 0.5 * (self._number + 1) * variance.log() + factor_SS.diagonal().log().sum()
        likelihood = likelihood + 0.5 * (self._number - len(self._means_S)) * settings[-1]
        lengths = ((settings[: self._groups] - self._prior) ** 2).sum() / 2
        trends = (settings[self._groups : -2] ** 2).sum() / (2 * _TREND_SPREAD**2)
        return likelihood + lengths + trends + ((settings[-2:] - _SHARE) ** 2).sum() / (2 * _SPREAD**2)

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


def _unit(size: int) -> Tensor:
    return torch.eye(size, dtype=torch.float64)


def _smooth(left_ND: Tensor, right_MD: Tensor) -> Tensor:
    squares_NM = (left_ND**2).sum(1)[:, None] + (right_MD**2).sum(1) - 2 * left_ND @ right_MD.T
    return torch.exp(-0.5 * squares_NM.clamp(min=0))
