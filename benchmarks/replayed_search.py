"""How much of a known front does a search find? Every sampler on the replayed table, with the whole engine.

    python benchmarks/replayed_search.py                      5 samplers, 20 seeds: about 15 minutes on 2 quiet cores
    python benchmarks/replayed_search.py --noise 0.8          APs with seed noise
    python benchmarks/replayed_search.py --noise 0.8 --repeats 3     ehvi may train an architecture with three seeds
    python benchmarks/replayed_search.py --samplers gp        about a minute a seed

benchmarks/replayed.py defines the 660 architectures and their simulated APs with known truth, which are no claim about any
detector. A search is a study with `trials` trials, run by `run_study` with its local executor and the replayed objective;
points of equal architecture are trained once, or by ehvi up to `--repeats` times. A search's result is a front of gmacs and
either observed or believed APs: each architecture's mean over its trials, or its posterior mean by ehvi's model, from the
same trials. It is scored by the true APs of those architectures: their hypervolume over that of the true front of all 660,
both up to the table's largest gmacs and lowest AP.

Printed for each sampler, after 5, 10 and 15 % of the architectures, for the observed and the believed front: the median over
seeds, the lowest, how many seeds reach 95 %; and the mean's lead over random search with the same budget and the same kind
of front, with a 95 % bootstrap interval over seeds.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median

import numpy as np

from benchmarks.replayed import DATA, Replay, architectures, costs, replayed_count, space, true_ap
from scaling_lab import Recipe, Study
from scaling_lab.metrics import counted
from scaling_lab.runs.reader import RunFolder
from scaling_lab.stats.belief import Belief, Seen
from scaling_lab.stats.fronts import front_of, pareto_front
from scaling_lab.stats.hypervolume import dominated_volume
from scaling_lab.study.ledger.database import Ledger, TrialRow
from scaling_lab.study.run.runner import run_study
from scaling_lab.study.search.trends import Trends

GOAL = 0.95
SHARES = (0.05, 0.10, 0.15)
SEEDS_APART = 1000  # between the seeds of one search


@dataclass(frozen=True, kw_only=True)
class Search:
    """One search of the table; `trials` are trained architectures."""

    sampler: str
    seed: int
    trials: int
    noise: float = 0.0
    repeats: int = 1

    def __call__(self) -> list[TrialRow]:
        """Run it and return its trials in the order of training."""
        study = Study(
            question="How much of the front does a search find?",
            space=space,
            data=DATA,
            recipe=Recipe.short(epochs=1),
            sampler=self.sampler,
            trials=self.trials,
            seeds=tuple(self.seed + SEEDS_APART * repeat for repeat in range(self.repeats)),
        )
        with tempfile.TemporaryDirectory() as folder:
            objective = Replay(noise=self.noise)
            out = run_study(
                study, out=Path(folder), executor="local", objective=objective, count=replayed_count, stream=None
            )
            ledger = Ledger(RunFolder(out).ledger)
            rows = ledger.trials()
            ledger.close()
        assert max(Counter(row.architecture for row in rows).values()) <= self.repeats
        return rows


def observed(rows: Sequence[TrialRow]) -> dict[str, float]:
    """Return the mean AP of each architecture's trials, by digest."""
    aps: dict[str, list[float]] = {}
    for row in rows:
        aps.setdefault(row.architecture, []).append(ap_of(row))
    return {digest: mean(each) for digest, each in aps.items()}


def believed(rows: Sequence[TrialRow], *, trends: Trends | None = None) -> dict[str, float]:
    """Return the believed AP of each architecture with trials, by digest; `trends` are those of a warm start."""
    return Belief([seen(row) for row in rows], trends=trends).believed()


FRONTS = {"observed": observed, "believed": believed}


def ap_of(row: TrialRow) -> float:
    """Return a trial's AP."""
    return float(row.metrics["ap"])


def seen(row: TrialRow) -> Seen:
    """Return a trial as a belief sees it."""
    digest = row.architecture
    return Seen(architecture=digest, params=row.params, costs=counted_costs(digest), state=row.state, value=ap_of(row))


def counted_costs(digest: str) -> dict[str, float]:
    """Return an architecture's counted costs, by name."""
    return counted(architectures()[digest], costs()[digest])


class Truth:
    """The whole table, which scores the front that a search found."""

    def __init__(self) -> None:
        specs = architectures()
        self._gmacs = {digest: costs()[digest].gmacs for digest in specs}
        self._aps = {digest: true_ap(spec) for digest, spec in specs.items()}
        self._whole = self._hypervolume(list(specs))

    def __len__(self) -> int:
        return len(self._aps)

    def share(self, aps: Mapping[str, float]) -> float:
        """Return the true hypervolume of the front of APs by digest, as a share of the true front's."""
        marks = pareto_front([self._gmacs[digest] for digest in aps], list(aps.values()))
        return self.of([digest for digest, on in zip(aps, marks, strict=True) if on])

    def of(self, digests: Sequence[str]) -> float:
        """Return the true hypervolume of architectures, as a share of the true front's."""
        return self._hypervolume(digests) / self._whole

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
    parser.add_argument("--repeats", type=int, default=1, help="most trials of an architecture, for ehvi (1)")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    truth = Truth()
    trials = int(SHARES[-1] * len(truth))
    print(f"{len(truth)} architectures, {trials} evaluations, {options.seeds} seeds, noise {options.noise:g} AP")
    print(f"{'sampler':8} {'after':>6} {'front':8} {'median':>7} {'lowest':>7} {'reach 95 %':>10}   lead over random")
    baseline: dict[tuple[float, str], list[float]] = {}
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        for sampler in ("random", *options.samplers):
            start = time.monotonic()
            searches = [
                Search(
                    sampler=sampler,
                    seed=seed,
                    trials=trials,
                    noise=options.noise,
                    repeats=options.repeats if sampler == "ehvi" else 1,
                )
                for seed in range(options.seeds)
            ]
            found = list(pool.map(Search.__call__, searches))
            for share, (name, front) in itertools.product(SHARES, FRONTS.items()):
                shares = [truth.share(front(rows[: int(share * len(truth))])) for rows in found]
                others = baseline.setdefault((share, name), shares)
                print(f"{sampler:8} {share:6.0%} {name:8} {_line(shares, others)}", flush=True)
            short = sum(len(each) < trials for each in found)
            print(
                f"{'':8} {time.monotonic() - start:.0f} s" + (f"; {short} searches ended early" if short else ""),
                flush=True,
            )


def _line(shares: Sequence[float], others: Sequence[float]) -> str:
    reached = f"{sum(share >= GOAL for share in shares)} of {len(shares)}"
    line = f"{median(shares):7.1%} {min(shares):7.1%} {reached:>10}"
    if shares is others:
        return line
    difference, low, high = (100 * each for each in lead(shares, others))
    return f"{line}   {difference:+.1f} ({low:+.1f} to {high:+.1f}) points"


if __name__ == "__main__":
    main()
