"""The Gaussian process, against what made the points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scaling_lab.stats.gaussian_process import GaussianProcess


def test_the_process_predicts_what_it_has_not_seen_and_says_how_well() -> None:
    chance = torch.Generator().manual_seed(0)
    points_ND = torch.rand(80, 4, generator=chance, dtype=torch.float64)
    truth_N = torch.sin(4 * points_ND[:, 0]) + points_ND[:, 1] ** 2  # of two dimensions; the others mean nothing
    values_N = truth_N + 0.05 * torch.randn(80, generator=chance, dtype=torch.float64)
    process = GaussianProcess(points_ND[:50], values_N[:50], torch.arange(50), torch.arange(4))
    mean_M, deviation_M = process(points_ND[50:])
    errors_M = (mean_M - values_N[50:]).abs()
    assert errors_M.mean() < 0.15 * values_N.std()
    assert 0.8 <= (errors_M < 2 * (deviation_M**2 + process.noise**2).sqrt()).double().mean() <= 1.0
    lengths = process.settings[:-2].exp()
    assert lengths[2:].min() > lengths[:2].max()


def test_dimensions_of_one_group_share_their_length() -> None:
    points_ND = torch.rand(20, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    process = GaussianProcess(points_ND, points_ND[:, 0], torch.arange(20), torch.tensor([0, 1, 1]))
    assert process.settings.shape == (2 + 2,)


def test_a_process_of_equal_values_gives_that_value() -> None:
    points_ND = torch.rand(12, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    values_N = torch.full((12,), 3.0, dtype=torch.float64)
    mean_M, deviation_M = GaussianProcess(points_ND, values_N, torch.arange(12), torch.arange(2)).known()
    assert mean_M.tolist() == pytest.approx([3.0] * 12)
    assert bool((deviation_M > 0).all())


def test_the_posterior_is_that_of_weighted_prior_draws() -> None:
    """Of draws of the latent values, each weighted by the likelihood of the seen values."""
    points_AD = torch.tensor([[0.0], [0.3], [0.9]], dtype=torch.float64)
    new_MD = torch.tensor([[0.2], [0.7]], dtype=torch.float64)
    values_N, places_N = torch.tensor([1.0, 2.2, 1.6, 4.0, 2.9], dtype=torch.float64), torch.tensor([0, 1, 1, 2, 2])
    process = GaussianProcess(points_AD, values_N, places_N, torch.arange(1))
    length, own, noise = process.settings.exp().tolist()
    variance = process.noise**2 / noise
    places = torch.cat([points_AD, new_MD])[:, 0].numpy()
    covariance = variance * (np.exp(-0.5 * ((places[:, None] - places) / length) ** 2) + own * np.eye(5))
    latent = np.random.default_rng(0).multivariate_normal([float(values_N.mean())] * 5, covariance, 400_000)
    misses = (latent[:, places_N.numpy()] - values_N.numpy()) / process.noise
    weights = np.exp(-0.5 * (misses**2).sum(axis=1))
    mean = np.average(latent, axis=0, weights=weights)
    deviation = np.sqrt(np.average((latent - mean) ** 2, axis=0, weights=weights))
    for place, found in ((slice(3), process.known()), (slice(3, 5), process(new_MD))):
        assert found[0].tolist() == pytest.approx(mean[place], abs=0.03)
        assert found[1].tolist() == pytest.approx(deviation[place], rel=0.03)


def test_seeds_of_one_point_tell_noise_from_the_point() -> None:
    chance = torch.Generator().manual_seed(3)
    points_AD = torch.rand(40, 1, generator=chance, dtype=torch.float64)
    own_A, noise_N = (torch.randn(number, generator=chance, dtype=torch.float64) for number in (40, 80))
    places_N = torch.arange(80) % 40
    for truth in (0.0, 0.5):
        values_N = 5 * points_AD[places_N, 0] + 0.5 * own_A[places_N] + truth * noise_N
        process = GaussianProcess(points_AD, values_N, places_N, torch.arange(1))
        pooled = float(((values_N[:40] - values_N[40:]) ** 2 / 2).mean().sqrt())
        assert process.noise == pytest.approx(pooled, abs=0.05)
        assert (pooled > 0.3) == (truth > 0)


def test_pending_values_narrow_the_posterior_and_leave_its_mean() -> None:
    points_AD = torch.linspace(0, 1, 6, dtype=torch.float64)[:, None]
    values_N, places_N = torch.tensor([0.0, 2.0, 1.0, 3.0, 2.5], dtype=torch.float64), torch.arange(5)
    free, waiting = (
        GaussianProcess(points_AD, values_N, places_N, torch.arange(1), pending_A=torch.tensor(pending)).known()
        for pending in ([0] * 6, [0, 0, 1, 0, 0, 1])
    )
    assert waiting[0].tolist() == pytest.approx(free[0].tolist())
    assert bool((waiting[1][[2, 5]] < 0.95 * free[1][[2, 5]]).all())
