"""Estimates how long trials will take: a few architectures are timed, the others interpolated by multiply-adds."""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.data.readers import readers_beside
from scaling_lab.study.ledger.database import Architecture
from scaling_lab.study.run.trial import Training, explain
from scaling_lab.study.study import Study

# An estimate's range excludes the slowest and the fastest tenth of the measured steps.
_LOW, _HIGH = 10, 90


@dataclass(frozen=True, kw_only=True)
class Span:
    """An estimate in seconds, and its range."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A timed architecture, in seconds; `step` excludes waiting for data. `features` are computed once, before all trials."""

    which: str
    architecture: str
    description: str
    gmacs: float
    steps: int
    step: Span
    wait: float
    evaluation: float
    checkpoint: float
    start: float
    trial: Span
    features: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Time of the remaining trials: of one, from the fastest to the slowest, and of all, `at_once` at a time.

    `work` is the time of all, one after another. `stopping` is None without early stopping; `total` and `work` ignore early
    stopping. `features` is the time to compute the features of frozen backbones, once for each backbone and image size; it
    is part of `total`.
    """

    device: str
    timed: tuple[Timed, ...]
    quickest: Span
    slowest: Span
    total: Span
    work: float
    trials: int
    at_once: int
    stopping: Stopping | None
    features: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """Seconds of all trials with early stopping: expected under its rule, and if every trial ends at the first `epochs`.

    The expectation holds for one objective (Halving.expected_epochs); with several it is higher. It is None where only the
    trials can tell.
    """

    epochs: tuple[int, ...]
    expected: float | None
    least: float


def picks(architectures: Iterable[Architecture], cost: str) -> dict[str, Architecture]:
    """Return the architectures of lowest, median and highest cost; fewer where costs are equal."""
    ordered = sorted(architectures, key=lambda each: each.costs[cost])
    if not ordered:
        return {}
    chosen: dict[str, Architecture] = {}
    for which, place in (("cheapest", 0), ("most expensive", len(ordered) - 1), ("median", len(ordered) // 2)):
        if all(ordered[place].costs[cost] != other.costs[cost] for other in chosen.values()):
            chosen[which] = ordered[place]
    return chosen


def between(values: Mapping[str, float], known: Mapping[str, Architecture], cost: str, wanted: float) -> float:
    """Interpolate a value known for the architectures of `picks`, by cost."""
    points = sorted((known[which].costs[cost], value) for which, value in values.items())
    return float(np.interp(wanted, [x for x, _ in points], [y for _, y in points]))


def makespan(seconds: Iterable[float], at_once: int) -> float:
    """Return the end of the last trial if trials start in order, each as one of `at_once` places is free."""
    free = [0.0] * at_once
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def trials_on_a_gpu(study: Study) -> int:
    """Return how many trials share a GPU; 1 where a trial or each of its workers has a whole one."""
    share = study.gpus_per_trial / study.workers_per_trial
    return max(1, int(1 / share + 1e-9)) if share else 1


def own_images(study: Study) -> int:
    """Return the most images of a batch that one worker trains on."""
    return math.ceil(study.recipe.batch_size / study.workers_per_trial)


def time_architectures(
    study: Study, training: Training, chosen: Mapping[str, Architecture], beside: int, say: Callable[[str], None]
) -> tuple[tuple[Timed, ...], list[str]]:
    """Time a few training steps of each architecture in this process, while `beside` others train the same.

    Return timings and error messages.
    """
    timed, wrong = [], []
    for which, architecture in chosen.items():
        say(f"measuring the {which} architecture: {architecture.spec.describe()}")
        try:
            timed.append(_time(study, training, which, architecture, beside))
        except Exception as error:
            kind, message = explain(error)
            wrong.append(
                f"the {which} architecture cannot be trained: {architecture.spec.describe()}: "
                f"{kind.replace('_', ' ')}: {message}"
            )
    return tuple(timed), wrong


def _time(study: Study, training: Training, which: str, architecture: Architecture, beside: int) -> Timed:
    from scaling_lab.training.rehearsal import rehearse

    share = own_images(study)
    recipe = dataclasses.replace(study.recipe, batch_size=share, accumulate=min(study.recipe.accumulate, share))
    measured = rehearse(
        architecture.spec,
        study.data,
        recipe,
        seed=study.seeds[0],
        device=training.device,
        workers=readers_beside(training.threads),
        threads=training.threads,
        beside=beside,
    )
    step = Span(
        estimate=float(np.mean(measured.steps)),
        low=float(np.percentile(measured.steps, _LOW)),
        high=float(np.percentile(measured.steps, _HIGH)),
    )
    batches = study.data.length("train") // study.recipe.batch_size
    whole = {name: measured.training(recipe, batches, value) for name, value in vars(step).items()}
    return Timed(
        which=which,
        architecture=architecture.digest,
        description=architecture.spec.describe(),
        gmacs=architecture.known["gmacs"],
        steps=len(measured.steps),
        step=step,
        wait=measured.later_wait,
        evaluation=measured.later_evaluation,
        checkpoint=measured.checkpoint,
        start=measured.start,
        trial=Span(**whole),
        features=measured.features,
    )


def forecast(
    timed: Sequence[Timed],
    left: Sequence[Architecture],
    finals: Sequence[Architecture] = (),
    *,
    study: Study,
    at_once: int,
    device: str,
) -> Forecast:
    """Extrapolate timings to all remaining trials in order: the search's, then the finalists'."""
    ordered = sorted(timed, key=lambda each: each.gmacs)
    costs = [each.gmacs for each in ordered]
    whole = [each.trial for each in ordered]
    estimates = [span.estimate for span in whole]

    def all_of(name: str, *, share: float = 1.0) -> float:
        values = [getattr(span, name) for span in whole]
        searched, final = (
            [float(np.interp(one.known["gmacs"], costs, values)) for one in each] for each in (left, finals)
        )
        return makespan([share * seconds for seconds in searched], at_once) + makespan(final, at_once)

    features = max(each.features for each in timed) * len({backbone_view(each.spec) for each in (*left, *finals)})
    return Forecast(
        device=device,
        timed=tuple(ordered),
        quickest=min(whole, key=lambda span: span.estimate),
        slowest=max(whole, key=lambda span: span.estimate),
        total=Span(**{name: features + all_of(name) for name in ("estimate", "low", "high")}),
        work=sum(float(np.interp(one.known["gmacs"], costs, estimates)) for one in (*left, *finals)),
        trials=len(left) + len(finals),
        at_once=at_once,
        stopping=_stopping(study, len(left), all_of) if left else None,
        features=features,
    )


def backbone_view(spec: DetectorSpec) -> tuple[object, ...]:
    """Return what a backbone's features depend on in a spec: equal where architectures share stored features."""
    levels = (spec.topology.min_level, spec.topology.max_level)
    return (spec.backbone, str(spec.backbone_options), *levels, spec.image_size, spec.pixels)


def _stopping(study: Study, trials: int, all_of: Callable[..., float]) -> Stopping | None:
    """Estimate the search with early stopping, all trials shortened by the same share of epochs."""
    if study.stopping is None:
        return None
    epochs = study.recipe.epochs
    expected = study.stopping.expected_epochs(trials, epochs=epochs)
    return Stopping(
        epochs=study.stopping.epochs(study.recipe),
        expected=None if expected is None else all_of("estimate", share=expected / epochs),
        least=all_of("estimate", share=study.stopping.min_epochs / epochs),
    )
