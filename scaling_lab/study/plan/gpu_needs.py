"""What trials need of GPUs: memory, counted on shapes, and GPU hours, measured or from a published rate."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scaling_lab.metrics import TRAINING_EFFORT
from scaling_lab.study.ledger.database import Architecture
from scaling_lab.study.plan.forecast import Forecast, own_images, trials_on_a_gpu
from scaling_lab.study.plan.gpus import GPUS, SOURCE, USABLE, Gpu, published, published_rate
from scaling_lab.study.plan.outlook import Feed, GpuMemory, GpuTime
from scaling_lab.study.study import Study


def gpu_memory(study: Study, architectures: Sequence[Architecture], gpu: Gpu | None) -> GpuMemory:
    """Count the memory of the architecture with the most activations. Raises UserError where the recipe does not fit it."""
    from scaling_lab.training.training_memory import training_memory

    largest = max(architectures, key=lambda each: each.known[TRAINING_EFFORT])
    memory = training_memory(largest.spec, study.recipe)
    images = own_images(study)
    part = math.ceil(images / min(study.recipe.accumulate, images))
    share = USABLE / trials_on_a_gpu(study)
    most = None if gpu is None else memory.most_images(share * gpu.memory, images)
    fitting = {name: memory.most_images(share * size, images) for name, size in GPUS.items()}
    return GpuMemory(
        architecture=largest.spec.describe(),
        fixed=memory.fixed,
        image=memory.image,
        part=part,
        total=memory.of(part, images),
        gpu=None if gpu is None else gpu.name,
        usable=None if gpu is None else round(share * gpu.memory),
        most=most,
        accumulate=math.ceil(images / most) if most else None,
        fits={name: math.ceil(images / each) for name, each in fitting.items() if each},
    )


def memory_problem(needed: GpuMemory, study: Study) -> str | None:
    """Return what is wrong where a part does not fit the GPU."""
    if needed.most is None or needed.usable is None or needed.part <= needed.most:
        return None
    allowed = f"accumulate={needed.accumulate} fits" if needed.most else "not even one image fits"
    if needed.most and study.recipe.halve_batch:
        return None  # the run halves its parts by itself
    less = "" if study.recipe.recompute_backbone else ", and recompute_backbone=True needs less"
    return (
        f"recipe.accumulate is {study.recipe.accumulate}, and its parts of {needed.part} images need "
        f"{needed.total / 1e9:.3g} GB, but a trial has {needed.usable / 1e9:.3g} GB on {needed.gpu}; {allowed}{less} "
        f"({needed.architecture})"
    )


def measured_time(study: Study, time: Forecast) -> GpuTime:
    """Return the GPU hours of a forecast from steps on a GPU."""
    share = study.gpus_per_trial / 3600
    rates = [study.recipe.batch_size / (each.step.estimate + each.wait) for each in time.timed]
    return GpuTime(
        hours=(time.work + time.features) * share,
        trial=(time.quickest.estimate * share, time.slowest.estimate * share),
        rates=(min(rates), max(rates)),
        gpu=time.device,
        source=None,
    )


def published_time(
    study: Study, left: Sequence[Architecture], *, images: int, gpu: Gpu | None, feed: float | None
) -> GpuTime | None:
    """Estimate the GPU hours of trials of `images` training images each, where their readers feed up to `feed` images/s.

    None for a frozen backbone, to which the published rate does not apply.
    """
    if not left or study.recipe.is_frozen(1) or min(each.known[TRAINING_EFFORT] for each in left) <= 0:
        return None
    which = published(gpu)
    gpus = study.gpus_per_trial
    rates = [min(gpus * published_rate(which, each.known[TRAINING_EFFORT]), feed or math.inf) for each in left]
    hours = [images / rate * gpus / 3600 for rate in rates]
    return GpuTime(
        hours=sum(hours), trial=(min(hours), max(hours)), rates=(min(rates), max(rates)), gpu=which, source=SOURCE
    )


def feed_of(readers: int, reader: float, gpu_time: GpuTime | None) -> Feed:
    """Return what a trial's readers can feed, beside what its training takes."""
    takes = None if gpu_time is None else gpu_time.rates[1]
    return Feed(readers=readers, reader=reader, trial=readers * reader, takes=takes)
