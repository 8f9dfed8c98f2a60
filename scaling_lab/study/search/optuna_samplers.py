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
        """Model conditional spaces jointly by parts; running trials count as bad, or workers would get the same point."""
        with unwarned():
            return TPESampler(multivariate=True, group=True, constant_liar=True, seed=self.desk.seed)


class Nsga2(Strategy):
    """NSGA-II (Deb et al. 2002)."""

    def optuna_sampler(self) -> BaseSampler:
        """Give a population of a fifth of the trials."""
        return NSGAIISampler(population_size=population_size(self.desk.study.trials), seed=self.desk.seed)


class Nsga3(Strategy):
    """NSGA-III (Deb and Jain 2014)."""

    def optuna_sampler(self) -> BaseSampler:
        """Give a population of a fifth of the trials."""
        with unwarned():
            return NSGAIIISampler(population_size=population_size(self.desk.study.trials), seed=self.desk.seed)


class Gp(Strategy):
    """Optuna's Gaussian process; parameters that only some points have are drawn at random."""

    learns_from_refusals = False

    def optuna_sampler(self) -> BaseSampler:
        """Give the sampler."""
        return GPSampler(seed=self.desk.seed, warn_independent_sampling=False)


def population_size(trials: int | None) -> int:
    """Give the size of a population: at least five generations, where Optuna's 50 would be random search in a study of 50."""
    return max(8, min(50, (trials or 50) // 5))


@contextmanager
def unwarned() -> Iterator[None]:
    """Silence Optuna's warnings that a feature is experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
