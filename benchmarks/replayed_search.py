"""How much of a known front does a search find? Every sampler on the replayed table, with the whole engine.

    python benchmarks/replayed_search.py                      5 samplers, 20 seeds: about 15 minutes on 2 quiet cores
    python benchmarks/replayed_search.py --noise 0.8          APs with seed noise
    python benchmarks/replayed_search.py --samplers gp        about a minute a seed

benchmarks/replayed.py defines the 660 architectures and their simulated APs with known truth, which are no claim about any
detector. A search is a study with `trials` trials, run by `run_study` with its local executor and the replayed objective;
points of equal architecture are trained once. A search's result is the front of the trials' APs and gmacs, as shown to
users. It is scored by the true APs of those architectures: their hypervolume over that of the true front of all 660, both
up to the table's largest gmacs and lowest AP.

Printed for each sampler, after 5, 10 and 15 % of the architectures: the median over seeds, the lowest, how many seeds reach
95 %; and the mean's lead over random search with the same budget, with a 95 % bootstrap interval over seeds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.replayed import DATA, Replay, architectures, costs, replayed_count, space, true_ap
from scaling_lab import Recipe, Study
from scaling_lab.runs.reader import Runs
from scaling_lab.stats.fronts import front_of, pareto_front
from scaling_lab.stats.hypervolume import dominated_volume
from scaling_lab.study.run.runner import run_study

GOAL = 0.95
SHARES = (0.05, 0.10, 0.15)


@dataclass(frozen=True, kw_only=True)
class Search:
    """One search of the table; `trials` are trained architectures."""

    sampler: str
    seed: int
    trials: int
    noise: float = 0.0

    def __call__(self) -> list[tuple[str, float]]:
        """Run it and return (digest, measured AP) in the order of training."""
        study = Study(
            question="How much of the front does a search find?",
            space=space,
            data=DATA,
            recipe=Recipe.short(epochs=1),
            sampler=self.sampler,
            trials=self.trials,
            seeds=(self.seed,),
        )
        with tempfile.TemporaryDirectory() as folder:
            objective = Replay(noise=self.noise)
            out = run_study(
                study, out=Path(folder), executor="local", objective=objective, count=replayed_count, stream=None
            )
            table = Runs(out).table()
        assert table["architecture"].is_unique
        return list(zip(table["architecture"], table["ap"], strict=True))


class Truth:
    """The whole table, which scores the front that a search found."""

    def __init__(self) -> None:
        specs = architectures()
        self._gmacs = {digest: costs()[digest].gmacs for digest in specs}
        self._aps = {digest: true_ap(spec) for digest, spec in specs.items()}
        self._whole = self._hypervolume(list(specs))

    def __len__(self) -> int:
        return len(self._aps)

    def share(self, found: Sequence[tuple[str, float]]) -> float:
        """Return the true hypervolume of the front of (digest, measured AP), as a share of the true front's."""
        marks = pareto_front([self._gmacs[digest] for digest, _ in found], [ap for _, ap in found])
        return self._hypervolume([digest for (digest, _), on in zip(found, marks, strict=True) if on]) / self._whole

    def _hypervolume(self, digests: Sequence[str]) -> float:
        reference = (max(self._gmacs.values()), -min(self._aps.values()))
        gmacs, aps = [self._gmacs[digest] for digest in digests], [self._aps[digest] for digest in digests]
        front = front_of([(cost, -ap) for cost, ap in zip(gmacs, aps, strict=True)])
        return dominated_volume(front, reference)


def lead(shares: Sequence[float], others: Sequence[float], *, draws: int = 10_000) -> tuple[float, float, float]:
    """Return the difference of two means, and its 95 % bootstrap interval over both groups' seeds."""
    chance = np.random.default_rng(0)
    first, second = (chance.choice(side, (draws, len(side))).mean(axis=1) for side in (shares, others))
    low, high = np.quantile(first - second, [0.025, 0.975])
    return float(np.mean(shares) - np.mean(others)), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samplers", nargs="+", default=["ehvi", "tpe", "nsga2", "nsga3"], help="beside random")
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds, from 0 (20)")
    parser.add_argument("--noise", type=float, default=0.0, help="seed SD, in AP (0)")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    truth = Truth()
    trials = int(SHARES[-1] * len(truth))
    print(f"{len(truth)} architectures, {trials} evaluations, {options.seeds} seeds, noise {options.noise:g} AP")
    print(
        f"{'sampler':8} {'after':>6} {'median':>7} {'lowest':>7} {'reach 95 %':>10}   lead over random (95 % interval)"
    )
    baseline: dict[float, list[float]] = {}
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        for sampler in ("random", *options.samplers):
            start = time.monotonic()
            searches = [
                Search(sampler=sampler, seed=seed, trials=trials, noise=options.noise) for seed in range(options.seeds)
            ]
            found = list(pool.map(Search.__call__, searches))
            for share in SHARES:
                shares = [truth.share(each[: int(share * len(truth))]) for each in found]
                words = ""
                if sampler == "random":
                    baseline[share] = shares
                else:
                    words = "{:+.1f} ({:+.1f} to {:+.1f}) points".format(
                        *(100 * x for x in lead(shares, baseline[share]))
                    )
                reached = f"{sum(s >= GOAL for s in shares)} of {len(shares)}"
                print(
                    f"{sampler:8} {share:6.0%} {median(shares):7.1%} {min(shares):7.1%} {reached:>10}   {words}",
                    flush=True,
                )
            short = sum(len(each) < trials for each in found)
            print(
                f"{'':8} {time.monotonic() - start:.0f} s" + (f"; {short} searches ended early" if short else ""),
                flush=True,
            )


if __name__ == "__main__":
    main()
