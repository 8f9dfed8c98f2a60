"""What does a search gain from another run's trials, and what does a misleading run cost? Sampler ehvi on the replayed table.

    python benchmarks/warm_start_shares.py                 6 starts, 12 seeds: about 25 minutes on 1 quiet core

benchmarks/replayed.py defines the architectures and their simulated APs with known truth, which are no claim about any
detector. The other run is a random search of 60 trials. The search has 99 trials and seed noise of 0.8 AP; its noise is the
same whatever it starts from. The other run's AP, each with N(0, 0.7) for each architecture and N(0, 0.8) for each trial:

    helpful                 the search's AP
    searched                the same, and the other run is a search by ehvi of 99 trials
    reversed                2 x the mean AP - the AP: the best are the worst
    reversed at equal cost  the AP that multiply-adds alone give - the rest, which is reversed
    unrelated               the AP of another architecture, by a random permutation

A search's result is the front of believed APs, scored as in benchmarks/replayed_search.py by true hypervolume. Printed after
10, 15, 25, 50 and 99 trials: the mean share of the true front, the lowest, and the mean's lead over the cold start with the same
seeds, with a 95 % bootstrap interval over seeds.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.replayed import (
    DATA,
    NOISE,
    Replay,
    ap_of_cost,
    architectures,
    as_trained,
    normal,
    replayed_count,
    space,
    true_ap,
)
from benchmarks.replayed_search import Truth, believed, counted_costs
from scaling_lab import DetectorSpec, Recipe, Study
from scaling_lab.runs.reader import RunFolder
from scaling_lab.study.ledger.database import Architecture, Ledger
from scaling_lab.study.run.runner import run_study
from scaling_lab.study.run.trial import Report
from scaling_lab.study.search.trends import Trends, made_sources

AFTER = (10, 15, 25, 50, 99)
EARLIER_SEED = 5000
OWN = 0.7  # SD of an architecture's effect in the other run
COLD = "cold"


def reversed_ap(spec: DetectorSpec) -> float:
    """Return the AP mirrored at the table's mean."""
    return 2 * _mean() - true_ap(spec)


def reversed_at_equal_cost(spec: DetectorSpec) -> float:
    """Return the AP with all mirrored that multiply-adds do not explain."""
    return 2 * ap_of_cost(spec) + 2 * _mean_rest() - true_ap(spec)


def unrelated_ap(spec: DetectorSpec) -> float:
    """Return the AP of a random other architecture."""
    return true_ap(_permuted()[spec.digest])


@dataclass(frozen=True, kw_only=True)
class Other:
    """A kind of other run."""

    ap: Callable[[DetectorSpec], float]
    sampler: str = "random"
    trials: int = 60


KINDS = {
    "helpful": Other(ap=true_ap),
    "searched": Other(ap=true_ap, sampler="ehvi", trials=99),
    "reversed": Other(ap=reversed_ap),
    "reversed at equal cost": Other(ap=reversed_at_equal_cost),
    "unrelated": Other(ap=unrelated_ap),
}


@lru_cache
def _mean() -> float:
    return mean(map(true_ap, architectures().values()))


@lru_cache
def _mean_rest() -> float:
    return mean(true_ap(spec) - ap_of_cost(spec) for spec in architectures().values())


@lru_cache
def _permuted() -> dict[str, DetectorSpec]:
    digests = sorted(architectures())
    others = random.Random(0).sample(digests, len(digests))
    return {digest: architectures()[other] for digest, other in zip(digests, others, strict=True)}


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """The other run's objective: one instantaneous epoch."""

    kind: str

    def __call__(self, spec: DetectorSpec, seed: int, folder: Path, report: Report) -> Mapping[str, Any]:
        """Look up a trial's AP."""
        own, noise = normal(f"{spec.digest} elsewhere {seed}", OWN), normal(f"{spec.digest} {seed}", NOISE)
        metrics = {"epoch": 1, "ap": KINDS[self.kind].ap(spec) + own + noise}
        report(metrics)
        return metrics


@dataclass(frozen=True, kw_only=True)
class Start:
    """A search from one kind of other run, or a cold one, and after how many trials it is scored."""

    kind: str
    seed: int
    after: tuple[int, ...] = AFTER

    def __call__(self) -> list[dict[str, float]]:
        """Run it and return the believed AP of each trained architecture, by digest, after these trials."""
        with tempfile.TemporaryDirectory() as folder:
            earlier, out = Path(folder) / "earlier", Path(folder) / "search"
            if self.kind != COLD:
                other = KINDS[self.kind]
                _run(earlier, Elsewhere(kind=self.kind), other.sampler, other.trials, EARLIER_SEED + self.seed)
            warm = [earlier] if self.kind != COLD else []
            _run(out, Replay(noise=NOISE), "ehvi", self.after[-1], self.seed, warm_start=warm)
            ledger = Ledger(RunFolder(out).ledger)
            rows, stored = ledger.trials(), ledger.meta().get("warm_start_trials", [])
            ledger.close()
        sources = made_sources(stored, space=space, measure=_measured, say=lambda text: None)
        return [believed(rows[:number], trends=Trends(sources, sign=1.0)) for number in self.after]


def _measured(spec: DetectorSpec) -> Architecture:
    made = as_trained(spec)
    return Architecture(digest=made.digest, spec=made, known=counted_costs(made.digest), parts={})


def _run(out: Path, objective: Any, sampler: str, trials: int, seed: int, **options: Any) -> None:
    study = Study(
        question="What does a search gain from another run?",
        space=space,
        data=DATA,
        recipe=Recipe.short(epochs=1),
        sampler=sampler,
        trials=trials,
        seeds=(seed,),
    )
    run_study(study, out=out, executor="local", objective=objective, count=replayed_count, stream=None, **options)


def paired_lead(shares: Sequence[float], others: Sequence[float], *, draws: int = 10_000) -> tuple[float, float, float]:
    """Return the mean difference of shares with the same seeds, and its 95 % bootstrap interval over seeds."""
    differences = np.array(shares) - np.array(others)
    means = np.random.default_rng(0).choice(differences, (draws, len(differences))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(differences.mean()), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), help="of other runs (all)")
    parser.add_argument("--seeds", type=int, default=12, help="number of seeds, from 0 (12)")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    truth = Truth()
    print(f"{'start':22} {'after':>5} {'mean':>6} {'lowest':>7}   lead over cold")
    cold: dict[int, list[float]] = {}
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        for kind in (COLD, *options.kinds):
            found = list(pool.map(Start.__call__, [Start(kind=kind, seed=seed) for seed in range(options.seeds)]))
            for place, number in enumerate(AFTER):
                shares = [truth.share(each[place]) for each in found]
                others = cold.setdefault(number, shares)
                lead = (
                    ""
                    if kind == COLD
                    else "{:+.1f} ({:+.1f} to {:+.1f}) points".format(
                        *(100 * each for each in paired_lead(shares, others))
                    )
                )
                print(f"{kind:22} {number:5} {mean(shares):6.1%} {min(shares):7.1%}   {lead}", flush=True)


if __name__ == "__main__":
    main()
