"""The draws of true means: t intervals where each stands alone, Bayes' theorem by quadrature where they scatter about a curve."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from scaling_lab.stats.posterior import drawn_means


def test_with_few_architectures_each_is_drawn_by_itself() -> None:
    groups = [[40.0, 41.0, 42.0], [50.0, 51.0]]
    draws = drawn_means(groups, pooled=(0.9, 3), draws=40_000)
    for place, group in enumerate(groups):
        expected = scipy.stats.t(3, np.mean(group), 0.9 / np.sqrt(len(group)))
        found = np.quantile(draws[:, place], [0.025, 0.25, 0.5, 0.75, 0.975])
        assert found == pytest.approx(expected.ppf([0.025, 0.25, 0.5, 0.75, 0.975]), abs=0.06)


def test_the_draws_are_the_posterior_by_quadrature() -> None:
    """Five architectures about one level, SD of seeds known well: the integral over tau is taken here by brute force."""
    y, n, sd = np.array([40.0, 40.4, 39.7, 41.5, 40.1]), np.array([3, 3, 2, 1, 3]), 0.6
    groups = [[value] * size for value, size in zip(y, n, strict=True)]
    draws = drawn_means(groups, pooled=(sd, 100_000), draws=60_000)
    taus = np.linspace(1e-4, 30, 60_000)
    precision = 1.0 / (taus[:, None] ** 2 + sd**2 / n)
    level = (precision * y).sum(axis=1) / precision.sum(axis=1)
    log = 0.5 * (
        np.log(precision).sum(axis=1)
        - np.log(precision.sum(axis=1))
        - (precision * (y - level[:, None]) ** 2).sum(axis=1)
    )
    weights = np.exp(log - log.max()) * np.sqrt(taus)
    weights /= weights.sum()
    kept = taus[:, None] ** 2 * precision
    expected = (weights[:, None] * (kept * y + (1 - kept) * level[:, None])).sum(axis=0)
    assert draws.mean(axis=0) == pytest.approx(expected, abs=0.02)
    assert abs(expected[3] - y[3]) > 0.2  # one seed, furthest out: drawn in most


def test_architectures_that_differ_much_are_not_drawn_in() -> None:
    random = np.random.default_rng(0)
    truths = 40.0 + 10.0 * random.standard_normal(30)
    groups = [list(truth + 0.1 * random.standard_normal(3)) for truth in truths]
    draws = drawn_means(groups, pooled=(0.1, 60), costs=np.geomspace(1, 50, 30).tolist())
    assert draws.mean(axis=0) == pytest.approx([np.mean(group) for group in groups], abs=0.01)


def test_some_that_did_not_learn_do_not_widen_the_scatter_of_the_rest() -> None:
    random = np.random.default_rng(1)
    costs = np.geomspace(1, 50, 40)
    learned = 30.0 + 3.0 * np.log(costs)
    groups = [list(ap + 0.6 * random.standard_normal(3)) for ap in learned]
    alone = drawn_means(groups, pooled=(0.6, 80), costs=costs.tolist())
    failed = [*groups, *[[1.0, 0.9, 1.1]] * 8]
    beside = drawn_means(failed, pooled=(0.6, 80), costs=[*costs, *np.geomspace(1, 50, 8)])
    assert beside[:, :40].std(axis=0).mean() == pytest.approx(alone.std(axis=0).mean(), rel=0.1)
    assert beside[:, 40:].mean(axis=0) == pytest.approx(np.ones(8), abs=0.05)
    error = np.sqrt(((alone.mean(axis=0) - learned) ** 2).mean())
    assert error < 0.7 * np.sqrt(((np.mean(groups, axis=1) - learned) ** 2).mean())


@pytest.mark.parametrize("count", [1, 3, 4, 8, 10, 16, 40])
def test_equal_values_a_missing_group_and_costs_that_are_missing_or_equal(count: int) -> None:
    equal = [[40.0, 40.0]] * count
    assert np.all(drawn_means(equal, pooled=(0.0, count), draws=50) == 40.0)
    for costs in (None, [np.nan] * count, [2.0] * count, np.arange(1.0, count + 1).tolist()):
        drawn = drawn_means([[40.0]] * count, pooled=(0.5, 4), costs=costs, draws=50)
        assert np.isfinite(drawn).all()
    some = drawn_means([[], *equal], pooled=(0.5, count), draws=50)
    assert np.isnan(some[:, 0]).all()
    assert np.isfinite(some[:, 1:]).all()


def test_the_same_groups_give_the_same_draws() -> None:
    groups = [[40.0 + k, 40.5 + k] for k in range(12)]
    first, second = (drawn_means(groups, pooled=(0.4, 12), costs=list(range(1, 13))) for _ in range(2))
    assert first.tobytes() == second.tobytes()
