"""How long does the engine take for each of 10,000 trials, and does it grow? A replayed objective, no training.

    python benchmarks/engine_scale.py                          the local executor, random: 2 minutes, with disk writes
    python benchmarks/engine_scale.py --executor ray           Ray, two reused workers
    python benchmarks/engine_scale.py --sampler nsga2 --trials 3000

The study has everything that costs the engine time: two objectives, a limit that rejects about a fifth of the points, points
of equal architecture; successive halving at epochs 1 and 3 of 9, SQLite and Optuna's journal on disk; and the progress
display (to /dev/null). Costs and AP are closed forms of the spec and take microseconds.

Printed for each thousand trials, in milliseconds a trial: wall-clock time (with Ray, two trials run at a time), and this
process's CPU time, split into the sampler (Optuna's suggestions), Optuna's storage and the engine; and this process's
memory. Other programs on the machine affect wall-clock time but hardly CPU time.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scaling_lab import DetectorSpec, Recipe, Shapes, Study, topologies
from scaling_lab.cost import Cost, PartCost
from scaling_lab.cost.counts import total
from scaling_lab.runs.reader import Runs
from scaling_lab.study import Halving
from scaling_lab.study.run import bookkeeper
from scaling_lab.study.run.runner import run_study
from scaling_lab.study.run.trial import Outcome, Report
from scaling_lab.study.search import ehvi, proposals, sampling
from scaling_lab.study.search.strategy import Desk, Strategy
from search_spaces import edges
from search_spaces.compound import SMALL

EPOCHS = 9
SAMPLER = ("infer_relative_search_space", "sample_relative", "sample_independent", "before_trial", "after_trial")
OPTUNA = ("ask", "describe", "constrain", "complete", "prune", "fail")


def space(trial: Any) -> DetectorSpec:
    """Any of nine edges on P3 to P5, at 505 widths: 258,560 points, more than 10,000 trials exhaust."""
    width = trial.suggest_int("width", 8, 512)
    return edges.space(
        trial, base=dataclasses.replace(SMALL.base, topology=topologies.none(3, 5), width=width), stages=1
    )


def count(spec: DetectorSpec) -> Cost:
    """Return a closed form instead of `scaling_lab.count`, which takes 0.25 s."""
    macs = spec.width**2 * 10**4 * (1 + spec.topology.num_edges)
    part = PartCost(params=spec.width**2 * 10, macs=macs, activations=0)
    parts = {"backbone": part, "feature_network": part, "heads": part}
    return Cost(**total(parts.values()).numbers(), memory=0, activation_memory=0, **parts)


@dataclasses.dataclass(frozen=True)
class Replay:
    """AP increases with multiply-adds and epochs; the ranking is fixed from the first epoch."""

    def __call__(self, spec: DetectorSpec, seed: int, folder: Path, report: Report) -> Mapping[str, Any]:
        """Report nine epochs."""
        luck = int(hashlib.sha256(f"{spec.digest} {seed}".encode()).hexdigest()[:4], 16) / 2**16
        metrics: dict[str, Any] = {}
        for epoch in range(1, EPOCHS + 1):
            ap = (50 - 20 * (1 + count(spec).gmacs) ** -0.3 + 5 * luck) * epoch / (epoch + 1)
            metrics = {"epoch": epoch, "epochs": EPOCHS, "loss": 1 / epoch, "ap": ap, "ap50": ap + 10}
            report(metrics)
        return metrics


class Clock:
    """Sums the CPU time of some methods; nested calls count once."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def time(self, owner: Any, names: tuple[str, ...]) -> None:
        """Time these methods of an object or a class."""
        for name in names:
            setattr(owner, name, self._timed(getattr(owner, name)))

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            start = time.process_time()
            self._depth += 1
            try:
                return method(*args, **options)
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self.seconds += time.process_time() - start

        return timed


class Watch:
    """Prints a line for each thousand ended trials."""

    def __init__(self, every: int) -> None:
        self.every, self.ended = every, 0
        self.sampler, self.optuna = Clock(), Clock()
        self.own: list[float] = []
        self.memory: list[float] = []
        self._marks = self._now()
        make, told = proposals.make_strategy, bookkeeper.Bookkeeper.ended

        def make_timed(desk: Desk) -> Strategy:
            strategy = make(desk)
            sampler = strategy.optuna_sampler()
            self.sampler.time(sampler, SAMPLER)
            strategy.optuna_sampler = lambda: sampler  # type: ignore[method-assign]
            return strategy

        def count_ended(keeper: bookkeeper.Bookkeeper, trial: int, outcome: Outcome) -> None:
            told(keeper, trial, outcome)
            if not self.memory:  # the first trial loads modules
                self.memory.append(_memory())
                self._marks = self._now()
            self._note()

        proposals.make_strategy = make_timed
        bookkeeper.Bookkeeper.ended = count_ended  # type: ignore[method-assign]
        self.optuna.time(sampling.Sampling, OPTUNA)
        for clock in (self.sampler, self.optuna):
            clock.time(ehvi.Ehvi, ("choose",))

    def _now(self) -> tuple[float, ...]:
        return time.monotonic(), time.process_time(), self.sampler.seconds, self.optuna.seconds

    def _note(self) -> None:
        self.ended += 1
        if self.ended % self.every:
            return
        now = self._now()
        wall, processor, sampler, optuna = (1000 * (b - a) / self.every for a, b in zip(self._marks, now, strict=True))
        self._marks = now
        self.own.append(processor - optuna)
        self.memory.append(_memory())
        print(
            f"{self.ended:7} {wall:8.2f} {processor:10.2f} {sampler:8.2f} {optuna - sampler:8.2f} "
            f"{processor - optuna:7.2f} {self.memory[-1]:8.0f}",
            flush=True,
        )


def _memory() -> float:
    """Return this process's memory in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--executor", choices=["local", "ray"], default="local")
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--folder", help="folder of the temporary run (the system's)")
    parser.add_argument("--cpus", type=int, default=2, help="Ray's workers (2)")
    options = parser.parse_args()
    study = Study(
        question="What does the engine take?",
        space=space,
        data=Shapes(train_images=8, val_images=8),
        recipe=Recipe.short(epochs=EPOCHS),
        sampler=options.sampler,
        trials=options.trials,
        limits={"gmacs": 30.0},
        stopping=Halving(min_epochs=1, factor=3),
    )
    print(f"{options.trials} trials, {options.executor}, {options.sampler}; load {os.getloadavg()[0]:.1f}")
    print("  ended     wall  processor  sampler  storage  engine   memory")
    watch = Watch(max(1, options.trials // 10))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, open(os.devnull, "w") as nowhere:
        run = run_study(
            study,
            out=Path(folder) / "run",
            executor=options.executor,
            cpus=options.cpus if options.executor == "ray" else None,
            objective=Replay(),
            count=count,
            stream=nowhere,
        )
        runs = Runs(run)
        states = Counter(runs.table()["state"])
        refused, epochs = len(runs.rejections()), len(runs.epochs())
    print(", ".join(f"{n} {state}" for state, n in states.items()) + f"; {refused} points rejected, {epochs} epochs")
    print(
        f"last to first: engine {watch.own[-1] / watch.own[0]:.2f} times; memory + {watch.memory[-1] - watch.memory[0]:.0f} MB"
    )


if __name__ == "__main__":
    main()
