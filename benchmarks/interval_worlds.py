"""Simulated worlds with known truth that test a report's intervals; interval_coverage.py runs them.

A trial draws a world with its generator and returns rows of (nominal, found): the report's level, and the outcome, such as
(0.95, 1.0) for a 95 % interval that covers the truth.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scaling_lab.report.analysis.grid_values import CREDIBLE
from scaling_lab.stats import posterior_fronts, ranks, resampling
from scaling_lab.stats.estimates import pooled_sd
from scaling_lab.stats.posterior import drawn_means
from scaling_lab.stats.scaling_law import band, fit_law, misfit_p

Array = np.ndarray[Any, np.dtype[Any]]
Trial = Callable[[np.random.Generator], Array]
DRAWS = 600


def covered(low: float, truth: float, high: float, nominal: float = 0.95) -> Array:
    """Return the single row of an interval."""
    return np.array([[nominal, float(low <= truth <= high)]])


# --- fronts ----------------------------------------------------------------------------------------------------------


def architectures(world: str, count: int, spread: float, random: np.random.Generator) -> tuple[Array, Array]:
    """Draw costs and true APs around a law of cost, with normal or other scatter."""
    logs = np.sort(random.uniform(0.0, 6.0, count))
    law = 55.0 - 30.0 * 2.0 ** (-0.4 * logs)
    if world == "one size":
        law = np.full(count, 40.0)
    scatter = {
        "normal": lambda: random.standard_normal(count),
        "one size": lambda: random.standard_normal(count),
        "all equal but for size": lambda: np.zeros(count),
        "skewed": lambda: -random.exponential(1.0, count),
        "three kinds": lambda: 3.0 * random.integers(0, 3, count),
        "a fifth did not learn": lambda: random.standard_normal(count) - 40.0 * (random.random(count) < 0.2),
    }
    return 2.0**logs, law + spread * scatter[world]()


def front(
    what: str,
    world: str,
    count: int,
    seeds: Sequence[int],
    spread: float,
    sd: float = 0.6,
    bin: tuple[float, float] = (0.0, 1.0),
) -> Trial:
    """Test the hypervolume's interval, the front's band (at every cost) or the probability of being on the front."""

    def trial(random: np.random.Generator) -> Array:
        costs, truths = architectures(world, count, spread, random)
        groups = [truth + sd * random.standard_normal(random.choice(seeds)) for truth in truths]
        means = drawn_means(
            groups, pooled=pooled_sd(groups), costs=costs.tolist(), draws=DRAWS, seed=int(random.integers(2**32))
        )
        if what == "hypervolume":
            reference = (2.0 * float(costs.max()), 0.0)
            found = posterior_fronts.Range.of(posterior_fronts.hypervolumes(costs.tolist(), means, reference=reference))
            true = posterior_fronts.hypervolumes(costs.tolist(), truths[None], reference=reference)[0]
            return covered(found.low, float(true), found.high)
        if what == "front band":
            low, _, high = posterior_fronts.front_band(costs.tolist(), means, costs.tolist())
            true = np.maximum.accumulate(truths)
            return np.stack([np.full(count, 0.9), ((low <= true) & (true <= high)).astype(float)], axis=1)
        given = posterior_fronts.front_probability(costs.tolist(), means)
        is_on = posterior_fronts.on_front(costs.tolist(), truths[None])[0].astype(float)
        some = (given >= bin[0]) & (given < bin[1])
        return np.stack([given[some], is_on[some]], axis=1)

    return trial


def grid(what: str, values: int, scales: int, seeds: int, spread: float, sd: float = 0.6) -> Trial:
    """Test a grid's statement on the best value of a parameter: its probability, or the set that should contain it."""

    def trial(random: np.random.Generator) -> Array:
        worth = spread * random.standard_normal(values)
        truths = (worth[:, None] + np.linspace(30.0, 45.0, scales)).ravel()
        names = np.repeat(np.arange(values), scales)
        groups = [truth + sd * random.standard_normal(seeds) for truth in truths]
        means = drawn_means(groups, pooled=pooled_sd(groups), draws=DRAWS, seed=int(random.integers(2**32)))
        chances = np.array(list(posterior_fronts.best_value(names.tolist(), means).values()))
        best = int(np.argmax(worth))
        if what == "probability":
            return np.array([[chances.max(), float(np.argmax(chances) == best)]])
        order = np.argsort(-chances)
        enough = int((np.cumsum(chances[order]) < CREDIBLE).sum()) + 1
        return np.array([[chances[order[:enough]].sum(), float(best in order[:enough])]])

    return trial


# --- ranks -----------------------------------------------------------------------------------------------------------


def pair(world: str, count: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Draw two rankings, bivariate normal or not."""
    x, noise = random.standard_normal((2, count))
    if world == "two clusters":
        shared = 4.0 * random.integers(0, 2, count)
        return shared + x, shared + noise
    if world == "fan":
        x = random.random(count)
        return x, x + 0.6 * x * noise
    if world == "ties":
        return np.round(1.2 * x), 0.7 * x + 0.7 * noise
    if world == "one in seven unrelated":
        return x, np.where(random.random(count) < 0.15, noise, x + 0.2 * noise)
    rho = float(world)
    return x, rho * x + math.sqrt(1.0 - rho * rho) * noise


def true_correlation(statistic: Callable[..., float], world: str) -> float:
    """Return the population's correlation: exact for a normal pair, else from a very large sample."""
    if world.replace(".", "").isdigit():
        rho = float(world)
        return 2 / math.pi * math.asin(rho) if statistic is ranks.tau else 6 / math.pi * math.asin(rho / 2)
    first, second = pair(world, 200_000, np.random.default_rng(0))
    return statistic(first, second)


def correlation(statistic: Callable[..., float], world: str, count: int) -> Trial:
    """Test the interval of tau or Spearman's rho."""
    truth = functools.cache(lambda: true_correlation(statistic, world))

    def trial(random: np.random.Generator) -> Array:
        found = resampling.with_interval(statistic, *pair(world, count, random))
        return covered(found.low, truth(), found.high)

    return trial


def partial(count: int, by_size: float) -> Trial:
    """Test partial tau: two measures that follow size with independent noise, and share another cause."""
    loads = np.array([[by_size, 0.6], [by_size, 0.6]])
    own = np.sqrt(1.0 - (loads**2).sum(axis=1))
    both, one = 2 / math.pi * math.asin(float(loads[0] @ loads[1])), 2 / math.pi * math.asin(by_size)
    truth = (both - one * one) / (1.0 - one * one)

    def trial(random: np.random.Generator) -> Array:
        size, cause = random.standard_normal((2, count))
        first, second = loads @ np.stack([size, cause]) + own[:, None] * random.standard_normal((2, count))
        found = resampling.with_interval(ranks.partial_tau, first, second, size)
        return covered(found.low, truth, found.high)

    return trial


def ahead(count: int, first: float, second: float, between: float) -> Trial:
    """Test the difference of two rankings' taus with one truth, for normal rankings with these correlations."""
    spread = np.linalg.cholesky(np.array([[1.0, first, second], [first, 1.0, between], [second, between, 1.0]]))
    true = 2 / math.pi * (math.asin(first) - math.asin(second))

    def trial(random: np.random.Generator) -> Array:
        truth, one, other = spread @ random.standard_normal((3, count))
        parts = resampling.leave_out(range(count))
        taus = [resampling.of_parts(ranks.tau, parts, each, truth) for each in (one, other)]
        found = resampling.tau_difference(one, other, *taus)
        return covered(found.low, true, found.high)

    return trial


def clustered(count: int, seeds: int, rho: float, of_seeds: float) -> Trial:
    """Test tau over all trials: correlated architectures, with correlated seeds of half their spread."""
    truth = 2 / math.pi * math.asin((rho + 0.25 * of_seeds) / 1.25)

    def trial(random: np.random.Generator) -> Array:
        wholes, own = (
            [x, r * x + math.sqrt(1.0 - r * r) * noise]
            for r, (x, noise) in (
                (rho, random.standard_normal((2, count))),
                (of_seeds, random.standard_normal((2, count * seeds))),
            )
        )
        early, final = (np.repeat(whole, seeds) + 0.5 * one for whole, one in zip(wholes, own, strict=True))
        parts = resampling.leave_out(np.repeat(np.arange(count), seeds).tolist())
        found = resampling.jackknifed(ranks.tau, resampling.of_parts(ranks.tau, parts, early, final), count)
        return covered(found.low, truth, found.high)

    return trial


def regret(count: int, rho: float) -> Trial:
    """Test the resampled range of a regret: does it contain the regret of as many new architectures?"""

    def lost(counts_AB: Array, random: np.random.Generator) -> Array:
        return resampling.regrets(*pair(str(rho), count, random), counts_AB, [1])[1]

    def trial(random: np.random.Generator) -> Array:
        found = resampling.middle(lost(resampling.resample(range(count)), random))
        return covered(found.low, float(lost(np.ones((count, 1)), random)[0]), found.high)

    return trial


def ceiling(spread: float, sd: float, seeds: int, count: int = 30) -> Trial:
    """Test the noise ceiling estimated from noisy means against the tau of two repeats of the truth."""

    def trial(random: np.random.Generator) -> Array:
        truths, error = spread * random.standard_normal(count), sd / math.sqrt(seeds)
        first, second = truths + error * random.standard_normal((2, count))
        found = ranks.noise_ceiling(first.tolist(), [error] * count, repeats=20, seed=int(random.integers(2**32)))
        return np.array([[ranks.tau(first, second), found]])

    return trial


# --- laws ------------------------------------------------------------------------------------------------------------


def law(what: str, models: int, seeds: Sequence[int], sd: float, exponent: float) -> Trial:
    """Test the band and the prediction for a model at twice the largest cost, where the law is true."""
    costs = 2.5 * 2.2 ** np.arange(models)

    def true(cost: Array) -> Array:
        return np.asarray(58.0 - 33.0 * cost**-exponent)

    def trial(random: np.random.Generator) -> Array:
        n = random.choice(seeds, models)
        groups = [ap + sd * random.standard_normal(size) for ap, size in zip(true(costs), n, strict=True)]
        means, pooled = [float(group.mean()) for group in groups], pooled_sd(groups)
        if what == "misfit":
            p = misfit_p(fit_law(costs.tolist(), means, n.tolist()), n.tolist(), pooled)
            return np.array([[0.05, float(p < 0.05)]])
        at = np.array([2.0 * costs[-1]]) if what != "within" else np.sqrt(costs[1:] * costs[:-1])
        training_runs = 3 if what == "training_runs" else None
        low, high = band(costs.tolist(), means, at, seeds=n.tolist(), pooled=pooled, training_runs=training_runs)
        goal = true(at) + (sd * random.standard_normal((3, 1)).mean(axis=0) if training_runs else 0.0)
        return np.stack([np.full(len(at), 0.95), ((low <= goal) & (goal <= high)).astype(float)], axis=1)

    return trial
