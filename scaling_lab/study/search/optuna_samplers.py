"""Optuna's own samplers as strategies."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, TPESampler

from scaling_lab.study.search.strategy import Strategy


class Random(Strategy):
    """Independent draws."""


class Tpe(Strategy):
    """Tree-structured Parzen estimator (Bergstra et al. 2011)."""

    def optuna_sampler(self) -> BaseSampler:
        """Return TPE, multivariate and grouped; running trials count as bad, so that workers get different points."""
        with unwarned():
            return TPESampler(multivariate=True, group=True, constant_liar=True, seed=self.desk.seed)


class Nsga2(Strategy):
    """NSGA-II (Deb et al. 2002)."""

    def optuna_sampler(self) -> BaseSampler:
        """Return NSGA-II with the population of `population_size`."""
        return NSGAIISampler(population_size=population_size(self.desk.study.trials), seed=self.desk.seed)


class Nsga3(Strategy):
    """NSGA-III (Deb and Jain 2014)."""

    def optuna_sampler(self) -> BaseSampler:
        """Return NSGA-III with the population of `population_size`."""
        with unwarned():
            return NSGAIIISampler(population_size=population_size(self.desk.study.trials), seed=self.desk.seed)


class Gp(Strategy):
    """Optuna's Gaussian process; conditional parameters are sampled at random."""

    learns_from_refusals = False

    def optuna_sampler(self) -> BaseSampler:
        """Return Optuna's GPSampler."""
        return GPSampler(seed=self.desk.seed, warn_independent_sampling=False)


def population_size(trials: int | None) -> int:
    """Return the population size for at least five generations. Optuna's default of 50 is random search for 50 trials."""
    return max(8, min(50, (trials or 50) // 5))


@contextmanager
def unwarned() -> Iterator[None]:
    """Silence Optuna's warnings that a feature is experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
