"""Times a few real steps, one checkpoint and one held-out batch of a training run, for extrapolation in a plan.

It uses the steps of train.py's Run, in a temporary folder.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.data import Source
from scaling_lab.data.batches import Batch
from scaling_lab.data.drawn import forget
from scaling_lab.data.readers import readers_kept
from scaling_lab.training import out_of_memory
from scaling_lab.training.company import company
from scaling_lab.training.evaluation import average_precision, predict
from scaling_lab.training.kernels import timed_kernels
from scaling_lab.training.optimization import learning_rate
from scaling_lab.training.recipe import Recipe
from scaling_lab.training.train import Run

# The first step, which may compile or wait for data, belongs to the start; this many more are not timed.
WARM_UP = 2
# Seconds of timed steps, and bounds on their number.
SECONDS, LEAST_STEPS, MOST_STEPS = 6.0, 3, 40
# Number of timed held-out batches.
MOST_BATCHES = 4
# The most held-out images on which COCO's evaluator is timed.
MOST_EVALUATED = 256


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Seconds of the parts of a training run.

    `start` lasts until the first step is done. `steps` are those after the warm-up, without the wait for their batch:
    `wait` in the first epoch and `later_wait` in the others, which differ where images are cached. `evaluation` covers all
    held-out images, `later_evaluation` the second and later evaluations.

    With a recipe's `views`, `steps` are those on stored features, and `features` computes them once. `whole_step` is a step
    of the whole network with its wait, if the recipe has one.
    """

    start: float
    steps: tuple[float, ...]
    wait: float
    later_wait: float
    checkpoint: float
    evaluation: float
    later_evaluation: float
    features: float = 0.0
    whole_step: float | None = None

    def training(self, recipe: Recipe, steps_per_epoch: int, step: float) -> float:
        """Return the seconds of a whole training run whose steps take `step` each, without computing features."""
        evaluations = -(-recipe.epochs // recipe.eval_every)  # the last epoch is always evaluated
        waits = steps_per_epoch * (self.wait + (recipe.epochs - 1) * self.later_wait)
        whole_epochs = 0 if self.whole_step is None else recipe.epochs - recipe.frozen_epochs
        whole = whole_epochs * steps_per_epoch * ((self.whole_step or 0.0) - step)
        evaluating = self.evaluation + (evaluations - 1) * self.later_evaluation
        checkpoints = (recipe.epochs + evaluations) * self.checkpoint  # one more before each evaluation
        return self.start + recipe.epochs * steps_per_epoch * step + checkpoints + waits + whole + evaluating


@timed_kernels()
def rehearse(
    spec: DetectorSpec,
    source: Source,
    recipe: Recipe,
    *,
    seed: int,
    device: str,
    workers: int,
    threads: int,
    seconds: float = SECONDS,
    beside: int = 0,
) -> Rehearsal:
    """Time the parts of a training run on this machine, while `beside` other processes train the same.

    Raises the errors of its first steps.
    """
    forget()  # clears cached images, since a trial in a new process has none
    with ExitStack() as stack:
        stack.enter_context(_threads(threads))
        stack.enter_context(readers_kept())
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        run_settings: Any = {"seed": seed, "device": device, "workers": workers}
        stack.enter_context(company(beside, threads=threads, spec=spec, source=source, recipe=recipe, **run_settings))
        began = time.perf_counter()
        run = Run(spec, source, recipe, folder=Path(folder), **run_settings)
        run.epoch = 1
        run.set_stage(1)
        with closing(_batches(run)) as found:
            run.step(*next(found))
            start = time.perf_counter() - began
            if run.is_rounded(1):
                steps, computing = _time_steps(run, found, seconds, prepare=run.rounded)
                wait, per_image = 0.0, computing / recipe.batch_size
            else:
                steps, wait = _time_steps(run, found, seconds)
                per_image = 0.0
        whole_step = _time_whole(run, seconds) if per_image and not recipe.is_frozen(recipe.epochs) else None
        began = time.perf_counter()
        run.save()
        checkpoint = time.perf_counter() - began
        later_wait = _time_kept(run, len(steps)) if source.kind == "shapes" and not per_image else wait
        evaluation, later_evaluation = _time_evaluations(run)
        del run
        out_of_memory.release()
    return Rehearsal(
        start=start,
        steps=steps,
        wait=wait,
        later_wait=later_wait,
        checkpoint=checkpoint,
        evaluation=evaluation,
        later_evaluation=later_evaluation,
        features=per_image * (recipe.views * source.length("train") + source.length("val")),
        whole_step=whole_step,
    )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _batches(run: Run) -> Generator[tuple[Batch, float]]:
    """Yield batches of consecutive epochs, with the learning rates of the first epoch."""
    for epoch in itertools.count(1):
        loader = run.batches("train", epoch)
        for place, batch in enumerate(loader):
            yield batch, learning_rate(run.recipe, place, len(loader))


def _time_steps(
    run: Run,
    found: Iterator[tuple[Batch, float]],
    seconds: float,
    *,
    prepare: Callable[[Batch], Batch] = lambda batch: batch,
) -> tuple[tuple[float, ...], float]:
    """Return the times of steps on prepared batches, and the mean wait for a batch with its preparation."""
    steps: list[float] = []
    waits: list[float] = []
    began = ready = time.perf_counter()
    for batch, rate in found:
        prepared = prepare(batch)
        given = time.perf_counter()
        run.step(prepared, rate)
        waits.append(given - ready)
        ready = time.perf_counter()
        steps.append(ready - given)
        counted = len(steps) - WARM_UP
        if counted >= MOST_STEPS or (counted >= LEAST_STEPS and ready - began >= seconds):
            break
    return tuple(steps[WARM_UP:]), float(np.mean(waits[WARM_UP:]))


def _time_whole(run: Run, seconds: float) -> float:
    """Return the mean time of a step of the whole network after the frozen epochs, with the wait for its batch."""
    run.epoch = run.recipe.frozen_epochs + 1
    run.set_stage(run.epoch)
    loader = run.batches("train", run.epoch)
    with closing((batch, 0.0) for batch in itertools.chain.from_iterable(itertools.repeat(loader))) as found:
        steps, wait = _time_steps(run, found, seconds)
    return float(np.mean(steps)) + wait


def _time_kept(run: Run, batches: int) -> float:
    """Return the mean wait for batches of cached images."""
    loader = run.batches("train", 1)
    count = min(batches, len(loader))
    began = time.perf_counter()
    for _ in itertools.islice(loader, count):
        pass
    return (time.perf_counter() - began) / count


def _time_evaluations(run: Run) -> tuple[float, float]:
    """Return the seconds of the first and of later evaluations, scaled from some batches to all images."""
    detections_D7, found_on, _ = _pass(run)  # warm-up
    forget()
    first = _pass(run)[2]
    later = _pass(run)[2] if run.source.kind == "shapes" else first
    truth = run.source.ground_truth("val")
    some = _first_images(truth, MOST_EVALUATED)
    repeated_D7 = _repeated(detections_D7, found_on, [image["id"] for image in some["images"]])
    began = time.perf_counter()
    average_precision(some, repeated_D7)
    comparing = (time.perf_counter() - began) * len(truth["images"]) / len(some["images"])
    return first + comparing, later + comparing


def _pass(run: Run) -> tuple[np.ndarray[Any, Any], list[int], float]:
    """Detect on some held-out batches. Return detections, image ids and the estimated seconds for all batches."""
    loader = run.batches("val", 0)
    found, image_ids, times = [], [], []
    ready = time.perf_counter()
    with closing(iter(loader)) as iterator:
        for batch in itertools.islice(iterator, MOST_BATCHES):
            if run.is_rounded(1):  # the features are stored then
                batch = run.rounded(batch)
                ready = time.perf_counter()
            found.append(predict(run.average.model, run.source, [batch], precision=run.recipe.precision))
            image_ids += batch.image_ids
            now = time.perf_counter()
            times.append(now - ready)
            ready = now
    # The first may have waited for the start of image readers.
    seconds = times[0] + (len(loader) - 1) * float(np.mean(times[1:] or times))
    return np.concatenate(found), image_ids, seconds


def _first_images(truth: dict[str, Any], count: int) -> dict[str, Any]:
    images = truth["images"][:count]
    ids = {image["id"] for image in images}
    annotations = [each for each in truth["annotations"] if each["image_id"] in ids]
    return {**truth, "images": images, "annotations": annotations}


def _repeated(detections_D7: np.ndarray[Any, Any], found_on: list[int], image_ids: list[int]) -> np.ndarray[Any, Any]:
    """Repeat the detections of a few images for all, since the evaluator's time depends on their number."""
    parts = []
    for place, image_id in enumerate(image_ids):
        rows_D7 = detections_D7[detections_D7[:, 0] == found_on[place % len(found_on)]].copy()
        rows_D7[:, 0] = image_id
        parts.append(rows_D7)
    return np.concatenate(parts)
