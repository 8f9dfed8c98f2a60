"""What overhead does the engine add to a trial of one minute? The same trials in a bare loop and as a study.

    python benchmarks/engine_overhead.py                    trials that compute for 4 s: 3 minutes on 2 quiet cores
    python benchmarks/engine_overhead.py --real             trials that train, against a bare `train` loop, 6 minutes

A trial's own seconds cancel: by default a trial waits for a fixed time while it reports six epochs, so the result is the
overhead and not the machine's unevenness. Each repeat runs the bare loop, the study with the local executor, and the study
on Ray with one worker. Printed is the overhead over the bare loop: once, before the first trial and after the last; and for
each trial, between the start of the first and the end of the last, also as a share of a minute.

With --real, trials run `scaling_lab.training.train` with the same specs, seed and recipe on Shapes; one process, one
thread. That comparison includes the machine's unevenness; its spread over the repeats is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scaling_lab import DetectorSpec, Recipe, Shapes, Study
from scaling_lab.study.run.runner import run_study, training_objective
from scaling_lab.study.run.trial import Objective, Report
from search_spaces.compound import SMALL

WIDTHS = (16, 24, 32, 40, 48, 56)
EPOCHS = 6


def space(trial: Any) -> DetectorSpec:
    """A grid of widths."""
    return dataclasses.replace(SMALL.base, width=trial.suggest_categorical("width", list(WIDTHS)))


@dataclasses.dataclass(frozen=True)
class Fixed:
    """A trial of fixed duration that reports epochs at even intervals."""

    seconds: float

    def __call__(self, spec: DetectorSpec, seed: int, folder: Path, report: Report) -> Mapping[str, Any]:
        """Wait and report."""
        start = time.monotonic()
        metrics: dict[str, Any] = {}
        for epoch in range(1, EPOCHS + 1):
            time.sleep(max(0.0, start + self.seconds * epoch / EPOCHS - time.monotonic()))
            metrics = {"epoch": epoch, "epochs": EPOCHS, "loss": 1.0 / epoch, "ap": float(epoch), "ap50": float(epoch)}
            report(metrics)
        return metrics


@dataclasses.dataclass(frozen=True)
class Noted:
    """Records when each trial starts and ends, on the clock that all processes share."""

    objective: Objective
    times: str

    def __call__(self, spec: DetectorSpec, seed: int, folder: Path, report: Report) -> Mapping[str, Any]:
        """Run the trial."""
        with self._noting():
            return self.objective(spec, seed, folder, report)

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        start = time.monotonic()
        yield
        with open(self.times, "a", encoding="utf-8") as file:
            file.write(f"{start} {time.monotonic()}\n")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timing:
    """A run's seconds: outside of trials (before the first, after the last), and for each trial."""

    outside: float
    per_trial: float


def measure(kind: str, study: Study, objective: Objective) -> Timing:
    """Run all trials of a study once: "bare" in a loop, else with an executor."""
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder) / "times.txt"
        noted = Noted(objective, str(times))
        start = time.monotonic()
        if kind == "bare":
            for width in WIDTHS[: study.trials]:
                own = Path(folder) / str(width)
                own.mkdir()
                spec = dataclasses.replace(SMALL.base, width=width, num_classes=len(study.data.class_names))
                noted(spec, study.seeds[0], own, lambda _: None)
        else:
            run_study(
                study,
                out=Path(folder) / "run",
                executor=kind,
                cpus=1 if kind == "ray" else None,
                objective=noted,
                stream=None,
            )
        end = time.monotonic()
        pairs = [tuple(map(float, line.split())) for line in times.read_text().splitlines()]
    first, last = min(began for began, _ in pairs), max(ended for _, ended in pairs)
    assert len(pairs) == study.trials
    return Timing(outside=end - start - (last - first), per_trial=(last - first) / len(pairs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5, help=f"up to {len(WIDTHS)} (5)")
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds of a trial (4)")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--real", action="store_true", help="train instead of waiting")
    parser.add_argument("--images", type=int, default=384, help="images of an epoch, with --real (384)")
    options = parser.parse_args()
    study = Study(
        question="What does the engine add?",
        space=space,
        data=Shapes(train_images=options.images if options.real else 8, val_images=32 if options.real else 8),
        recipe=Recipe.short(epochs=2 if options.real else EPOCHS),
        sampler="grid",
        trials=options.trials,
    )
    objective = training_objective(study) if options.real else Fixed(options.seconds)
    print(f"{options.trials} trials, {options.repeats} repeats in turn; load {os.getloadavg()[0]:.1f}")
    found: dict[str, list[Timing]] = {"bare": [], "local": [], "ray": []}
    for _ in range(options.repeats):
        for kind, timings in found.items():
            timings.append(measure(kind, study, objective))
    bare = [timing.per_trial for timing in found["bare"]]
    print(f"bare loop: {statistics.mean(bare):.3f} s a trial ({', '.join(f'{each:.3f}' for each in bare)})")
    for kind in ("local", "ray"):
        added = [timing.per_trial - each for timing, each in zip(found[kind], bare, strict=True)]
        print(
            f"{kind:5}: + {statistics.mean(added):.3f} s a trial ({', '.join(f'{each:+.3f}' for each in added)}), "
            f"{statistics.mean(added) / 60:.2%} of a minute; "
            f"start and end {statistics.mean(timing.outside for timing in found[kind]):.1f} s, once"
        )


if __name__ == "__main__":
    main()
