"""What could a search of the replayed table find at most, and what does BoTorch find?

    python benchmarks/replayed_rivals.py law --noise 0.8             seconds a seed
    python benchmarks/replayed_rivals.py botorch --noise 0.8         a minute a seed; pip install botorch first

`law` knows the law of the table: its trend, its deviations' variances and the seed noise, all but the random numbers
themselves (benchmarks/replayed.py). It chooses as ehvi does, from exact posteriors. A model that must learn the law from
trials cannot be expected to find more.

`botorch` fits BoTorch's process (squared exponential kernel, length scales with a prior that grows with the number of
dimensions) to the points as ehvi encodes them. It chooses by qLogNoisyExpectedHypervolumeImprovement with 64 samples.

Both choose among all architectures, after 10 random ones; their front is that of posterior means among the trained ones.
Printed: its hypervolume by true APs, as a share of the true front's, and that of all trained architectures.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import replayed
from benchmarks.replayed_search import SEEDS_APART, Truth
from scaling_lab.metrics import counted
from scaling_lab.stats.encoding import encoded
from scaling_lab.stats.hypervolume import expected_improvement
from scaling_lab.study.space.enumeration import enumerate_space

Values = NDArray[np.float64]
STARTUP, SAMPLES, AT_ONCE = 10, 64, 128


class Table:
    """The architectures, with points, multiply-adds and what the law says of each, all in one order (A)."""

    def __init__(self) -> None:
        params: dict[str, dict[str, Any]] = {}
        for point, spec in enumerate_space(replayed.space):
            params.setdefault(replayed.as_trained(spec).digest, dict(point))
        self.digests = list(params)
        self.specs = [replayed.architectures()[digest] for digest in self.digests]
        self.gmacs_A = np.array([replayed.costs()[digest].gmacs for digest in self.digests])
        self._params = params

    @cached_property
    def points_AD(self) -> torch.Tensor:
        """The points as ehvi's model sees them."""
        costs = [counted(spec, replayed.costs()[spec.digest]) for spec in self.specs]
        return encoded(list(zip(self._params.values(), costs, strict=True)))[0]

    @cached_property
    def law(self) -> tuple[Values, Values]:
        """The mean (A,) and the covariance (A, A) of true APs before any is seen."""
        mean_A = np.array([replayed.expected_ap(spec) for spec in self.specs])
        wiring_A = np.array([replayed.wiring(spec.topology) for spec in self.specs])
        shared_AA = replayed.WIRING_SD**2 * (wiring_A[:, None] == wiring_A)
        return mean_A, shared_AA + replayed.OWN_SD**2 * np.eye(len(mean_A))


@dataclass
class Trials:
    """The trials of one search: places in the table, and APs seen."""

    table: Table
    noise: float
    seed: int

    def __post_init__(self) -> None:
        self.places: list[int] = []
        self.seen: list[float] = []

    def train(self, place: int) -> None:
        """Look up an architecture's AP with its next seed."""
        seed = self.seed + SEEDS_APART * Counter(self.places)[place]
        objective = replayed.Replay(noise=self.noise)
        self.seen.append(objective.ap(self.table.specs[place], seed))
        self.places.append(place)


def by_law(trials: Trials) -> tuple[Callable[[], int], Callable[[], Values]]:
    """Return how to choose the next architecture, and the posterior mean (A,), where the law is known."""
    mean_A, covariance_AA = trials.table.law
    gmacs_A1 = trials.table.gmacs_A[:, None]

    def posterior() -> tuple[Values, Values]:
        places, noise = np.array(trials.places), max(trials.noise, 1e-3)
        seen_NN = covariance_AA[np.ix_(places, places)] + noise**2 * np.eye(len(places))
        solved_NA = np.linalg.solve(seen_NN, covariance_AA[places])
        variance_A = np.diag(covariance_AA) - (covariance_AA[places] * solved_NA).sum(axis=0)
        return mean_A + solved_NA.T @ (np.array(trials.seen) - mean_A[places]), np.sqrt(variance_A.clip(1e-12))

    def choose() -> int:
        found_A, deviation_A = posterior()
        trained = np.unique(trials.places)
        fresh = np.setdiff1d(np.arange(len(found_A)), trained)
        change_M = deviation_A[fresh] ** 2 / np.sqrt(deviation_A[fresh] ** 2 + trials.noise**2)
        gains_M = expected_improvement(
            found_A[fresh],
            change_M,
            gmacs_A1[fresh],
            values_N=found_A[trained],
            known_costs_NC=gmacs_A1[trained],
            reference=float(found_A[trained].min()),
            reference_costs_C=gmacs_A1.max(axis=0),
        )
        return int(fresh[gains_M.argmax()])

    return choose, lambda: posterior()[0]


def by_botorch(trials: Trials) -> tuple[Callable[[], int], Callable[[], Values]]:
    """Return the same where BoTorch models and chooses."""
    from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
    from botorch.acquisition.multi_objective.objective import MCMultiOutputObjective
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.models.transforms import Standardize
    from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
    from botorch.sampling import SobolQMCNormalSampler
    from gpytorch.mlls import ExactMarginalLogLikelihood

    torch.manual_seed(trials.seed)
    dimensions = trials.table.points_AD.shape[1]
    costs_A1 = torch.tensor(trials.table.gmacs_A / trials.table.gmacs_A.max())[:, None]
    points_AX = torch.cat([trials.table.points_AD, costs_A1], dim=1)

    class WithCost(MCMultiOutputObjective):  # type: ignore[misc]
        _verify_output_shape = False

        def forward(self, samples: torch.Tensor, X: torch.Tensor) -> torch.Tensor:
            return torch.cat([samples, -X[..., -1:].expand(*samples.shape[:-1], 1)], dim=-1)

    def fitted() -> Any:
        kernel = get_covar_module_with_dim_scaled_prior(ard_num_dims=dimensions, active_dims=list(range(dimensions)))
        seen_N1 = torch.tensor(trials.seen, dtype=torch.float64)[:, None]
        process = SingleTaskGP(points_AX[trials.places], seen_N1, covar_module=kernel, outcome_transform=Standardize(1))
        fit_gpytorch_mll(ExactMarginalLogLikelihood(process.likelihood, process))
        return process

    def choose() -> int:
        gain = qLogNoisyExpectedHypervolumeImprovement(
            fitted(),
            objective=WithCost(),
            ref_point=[min(trials.seen), -1.0],
            X_baseline=points_AX[trials.places],
            sampler=SobolQMCNormalSampler(torch.Size([SAMPLES])),
            prune_baseline=True,
        )
        fresh = sorted(set(range(len(points_AX))).difference(trials.places))
        with torch.no_grad():
            gains_M = torch.cat([gain(each[:, None]) for each in points_AX[fresh].split(AT_ONCE)])
        return fresh[int(gains_M.argmax())]

    def mean() -> Values:
        process = fitted()
        with torch.no_grad():
            return np.asarray(process.posterior(points_AX).mean[:, 0])

    return choose, mean


SEARCHERS = {"law": by_law, "botorch": by_botorch}


def found(table: Table, truth: Truth, searcher: str, *, noise: float, seed: int, trials: int) -> Sequence[float]:
    """Return the shares of the believed front and of all trained architectures."""
    done = Trials(table, noise, seed)
    for place in random.Random(seed).sample(range(len(table.digests)), STARTUP):
        done.train(place)
    choose, mean = SEARCHERS[searcher](done)
    while len(done.places) < trials:
        done.train(choose())
    mean_A, trained = mean(), set(done.places)
    return (
        truth.share({table.digests[place]: float(mean_A[place]) for place in trained}),
        truth.of([table.digests[place] for place in trained]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("searcher", choices=SEARCHERS)
    parser.add_argument("--noise", type=float, default=0.0, help="seed SD, in AP (0)")
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds, from 0 (20)")
    parser.add_argument("--trials", type=int, default=99)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table, truth = Table(), Truth()
    shares = []
    for seed in range(options.seeds):
        shares.append(found(table, truth, options.searcher, noise=options.noise, seed=seed, trials=options.trials))
        print(f"seed {seed}: front {shares[-1][0]:.1%}, all trained {shares[-1][1]:.1%}", flush=True)
    for name, each in zip(("front", "all trained"), zip(*shares, strict=True), strict=True):
        print(f"{name}: median {median(each):.1%}, lowest {min(each):.1%}")


if __name__ == "__main__":
    main()
