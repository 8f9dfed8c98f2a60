"""Plans a study before it runs, by timing a few training steps of up to three architectures.

Nothing is written into the run's folder.
"""

from __future__ import annotations

import itertools
import math
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scaling_lab.checks import check_whole
from scaling_lab.data.readers import memory_size, readers_beside
from scaling_lab.errors import UserError
from scaling_lab.machine import cores, free_memory
from scaling_lab.runs.reader import ENDED, RunFolder, Runs
from scaling_lab.study.ledger.database import Architecture
from scaling_lab.study.plan.forecast import (
    Forecast,
    backbone_view,
    between,
    forecast,
    picks,
    time_architectures,
    trials_on_a_gpu,
)
from scaling_lab.study.plan.gpu_needs import feed_of, gpu_memory, measured_time, memory_problem, published_time
from scaling_lab.study.plan.gpus import Gpu, named_gpu, seen_gpu
from scaling_lab.study.plan.outlook import (
    Detectable,
    Disk,
    Earlier,
    GpuMemory,
    GpuTime,
    Places,
    Plan,
    Reading,
    Trials,
)
from scaling_lab.study.plan.survey import POINTS, Survey, survey
from scaling_lab.study.run.job import Job, check_folder, check_objectives, check_same_protocol, choose, with_data
from scaling_lab.study.run.ray_executor import Resources, check_address, cluster_machines
from scaling_lab.study.run.runner import training_objective
from scaling_lab.study.run.trial import device_name
from scaling_lab.study.search.costs import Count
from scaling_lab.study.space.study_file import StudyFile
from scaling_lab.study.study import Study


def make_plan(
    study: Study | StudyFile | str | Path,
    *,
    out: str | Path | None = None,
    form: str | None = None,
    data: str | None = None,
    sampler: str | None = None,
    address: str | None = None,
    cpus: int | None = None,
    gpus: int | None = None,
    gpu: str | None = None,
    points: int | None = None,
    measure: bool = True,
    count: Count | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Plan:
    """Plan what `run_study` would do with the same study, form, sampler, data and folder.

    Trials run on the cluster at `address`, on a machine with `cpus` and `gpus`, or on this one. `gpu` names their GPU, one
    of plan/gpus.py; default is this machine's. A space without a grid is surveyed by `points` samples. `measure` times the
    reading of images and a few training steps of up to three architectures. Without steps on a GPU, its time comes from a
    published rate. Raises UserError for a study that cannot be read; other problems are in the plan.
    """
    named = None if gpu is None else named_gpu(gpu)
    points = POINTS if points is None else points
    _check_choices(address=address, cpus=cpus, gpus=gpus, points=points)
    job = choose(study, out=out, form=form, data=data, sampler=sampler)
    if job.study.shared is not None:
        raise UserError(f"the study {job.name} has shared weights, which cannot be planned yet; allowed is shared=None")
    planning = _Planning(job, say)
    planning.look_at_data(was_told=data is not None)
    planning.look_at_space(points, count)
    places = planning.places(address=address, cpus=cpus, gpus=gpus)
    earlier = planning.earlier()
    left, finals, trials = planning.trials()
    disk = planning.disk([*left, *finals], places)
    reading = planning.reading(places)
    memory = planning.gpu_memory(left, named)
    time = planning.time(left, finals, places, measure=measure)
    reader = planning.reader(left, measure=measure)
    gpu_time = planning.gpu_time([*left, *finals], time, named, reader)
    job = planning.job
    sd = None if earlier is None else earlier.sd
    finalists = job.study.finalists
    return Plan(
        study=job.name,
        form=job.form,
        folder=job.folder,
        sampler=job.study.sampler,
        data=planning.data,
        space=planning.space,
        trials=trials,
        places=places,
        earlier=earlier,
        time=time,
        disk=disk,
        reading=reading,
        feed=None if reader is None else feed_of(planning.readers, reader, gpu_time),
        gpu_memory=memory,
        gpu_time=gpu_time,
        detectable=Detectable.of(trials.seeds, sd=sd),
        detectable_finalists=None if finalists is None else Detectable.of(len(finalists.seeds), sd=sd),
        notes=tuple(planning.notes),
        problems=tuple(planning.problems),
    )


class _Planning:
    """Collects the parts of a plan, with notes and problems."""

    def __init__(self, job: Job, say: Callable[[str], None]) -> None:
        self.job, self.say = job, say
        self.notes: list[str] = []
        self.problems: list[str] = []
        self.data: str | None = None
        self.rows: list[dict[Any, Any]] = []
        self.has_batch = False

    def look_at_data(self, *, was_told: bool) -> None:
        """Check the data, and make sure that an epoch has a step."""
        source, batch_size = self.job.study.data, self.job.study.recipe.batch_size
        try:
            self.job = with_data(self.job, was_told=was_told)
            self.data = source.describe()
        except UserError as error:
            self.problems.append(f"the data cannot be used here: {error}")
            return
        try:
            check_objectives(self.job.study)
        except UserError as error:
            self.problems.append(str(error))
        self.has_batch = source.length("train") >= batch_size
        if not self.has_batch:
            allowed = f"allowed is up to {source.length('train')}, the number of training images"
            self.problems.append(f"recipe.batch_size is {batch_size}; {allowed}")

    def look_at_space(self, points: int, count: Count | None) -> None:
        """Survey the search space."""
        study = self.job.study
        self.say("surveying the search space")
        num_classes = None if self.data is None else len(study.data.class_names)
        self.space: Survey = survey(study, num_classes=num_classes, points=points, count=count)
        if self.data is None:
            self.notes.append("costs use the space's own number of classes, since the data's is unknown")
        if study.stopping is not None:
            self.notes.append("images and disk are upper limits: trials stopped early take less")
        if "latency_ms" in study.limits:
            self.notes.append("rejections by the limit on latency_ms are unknown until trials measure it")
        if not self.space.architectures:
            self.problems.append("the search space has no point")
        elif not self.space.within:
            least = [
                f"the least {name} is {self.space.ranges[name][0]:.3g}, the limit {limit:g}"
                for name, limit in study.limits.items()
                if name in self.space.ranges
            ]
            what = "no point" if self.space.is_exact else f"none of {self.space.points} random points"
            self.problems.append(f"{what} is within the limits: {', '.join(least)}")

    def places(self, *, address: str | None, cpus: int | None, gpus: int | None) -> Places:
        """Return the machines to run on, and check that a trial fits. Raises UserError."""
        study = self.job.study
        at_once = 0
        machines: list[Mapping[str, float]] = []
        try:
            machines = cluster_machines(address) if address else [_machine(study, cpus, gpus)]
            wanted = Resources(
                cpus_per_trial=study.trial_cpus,
                gpus_per_trial=study.gpus_per_trial,
                workers_per_trial=study.workers_per_trial,
            )
            at_once = wanted.trials_at_once(machines)
        except UserError as error:
            hint = "" if address else " (--cpus and --gpus plan for another machine, --address plans for a cluster)"
            self.problems.append(f"{error}{hint}")
        told = cpus is not None or gpus is not None
        return Places(
            where=f"the cluster at {address}" if address else "the given machine" if told else "this machine",
            machines=tuple({name: each.get(name, 0) for name in ("CPU", "GPU")} for each in machines),
            cpus_per_trial=study.trial_cpus,
            gpus_per_trial=study.gpus_per_trial,
            at_once=at_once,
        )

    def earlier(self) -> Earlier | None:
        """Summarise earlier trials in the run's folder."""
        folder = RunFolder(self.job.folder)
        try:
            check_folder(folder)
            if not folder.ledger.is_file():
                return None
            runs = Runs(folder.path)
            if self.data is not None:
                check_same_protocol(runs.meta, self.job, folder)
        except UserError as error:
            self.problems.append(str(error))
            return None
        rows = runs.table().to_dict(orient="records")
        self.rows = [row for row in rows if row["protocol"] == runs.meta["protocol"]]
        return Earlier.of(self.rows)

    def trials(self) -> tuple[list[Architecture], list[Architecture], Trials]:
        """Return the architectures of the remaining trials, of the search and of finalists, and the totals."""
        study, recipe = self.job.study, self.job.study.recipe
        rows = [row for row in self.rows if row["state"] in ENDED]
        ended = {(row["architecture"], row["seed"]) for row in rows if row["role"] == "search"}
        finalists = self._finalists()
        finals = finalists[len(rows) - len(ended) :]
        wanted = self._wanted()
        if study.is_exhaustive:
            left = [architecture for architecture, seed in wanted if (architecture.digest, seed) not in ended]
        else:
            left = [architecture for architecture, _ in wanted][: max(0, len(wanted) - len(ended))]
        per_architecture = Counter(architecture.digest for architecture, _ in wanted)
        steps = study.data.length("train") // recipe.batch_size if self.data is not None else None
        images = None if steps is None else (len(wanted) + len(finalists)) * recipe.epochs * steps * recipe.batch_size
        is_grid = study.is_exhaustive
        return (
            left,
            finals,
            Trials(
                trials=len(wanted),
                finalists=len(finalists),
                left=len(left) + len(finals),
                architectures=len(per_architecture) if is_grid else None,
                seeds=min(per_architecture.values(), default=1) if is_grid else len(study.seeds),
                epochs=recipe.epochs,
                steps_per_epoch=steps,
                images_seen=images,
            ),
        )

    def _wanted(self) -> list[tuple[Architecture, int]]:
        """Return the (architecture, seed) of a grid's trials; of a search, as many trials with surveyed architectures."""
        study, within = self.job.study, self.space.within
        pairs = [(architecture, seed) for seed in study.seeds for architecture in within]
        if study.is_exhaustive or study.trials is None:
            return pairs[: study.trials]
        if self.space.is_exact and study.trials > len(pairs):
            self.notes.append(
                f"the search ends with {len(pairs)} trials of {study.trials}: the space has no more architectures within the "
                "limits and every seed is used"
            )
            return pairs
        return list(itertools.islice(itertools.cycle(pairs), study.trials))

    def _finalists(self) -> list[Architecture]:
        """Return stand-ins for the unknown finalists: architectures from lowest to highest cost, for each seed."""
        if self.job.study.finalists is None or not self.space.within:
            return []
        ordered = sorted(self.space.within, key=lambda each: each.known["gmacs"])
        wanted = self.job.study.finalists
        count = min(wanted.count, len(ordered)) if self.space.is_exact else wanted.count
        places = [round(place * (len(ordered) - 1) / max(1, count - 1)) for place in range(count)]
        return [ordered[place] for place in (*places, *[len(ordered) // 2] * wanted.baseline)] * len(wanted.seeds)

    def disk(self, left: Sequence[Architecture], places: Places) -> Disk | None:
        """Estimate what the remaining trials will write."""
        if not self.space.within:
            return None
        from scaling_lab.training.sizes import file_sizes

        known = picks(self._candidates(left), "params_m")
        sizes = {which: file_sizes(each.spec, self.job.study.recipe) for which, each in known.items()}
        whole = {which: float(size.trial) for which, size in sizes.items()}
        checkpoints = [size.checkpoint for size in sizes.values()]
        weights = [size.weights for size in sizes.values()]
        total = sum(between(whole, known, "params_m", each.known["params_m"]) for each in left)
        # A checkpoint is written before the previous one is removed.
        total += min(len(left), max(1, places.at_once)) * max(checkpoints)
        features = self._features(left)
        total += features
        free = _free_bytes(self.job.folder)
        if total > free:
            self.problems.append(
                f"the trials need {total / 1e9:.3g} GB on the disk of {self.job.folder}, which has {free / 1e9:.3g} GB free"
            )
        return Disk(
            checkpoint=(min(checkpoints), max(checkpoints)),
            weights=(min(weights), max(weights)),
            total=round(total),
            free=free,
            features=features,
        )

    def _features(self, left: Sequence[Architecture]) -> int:
        """Return the bytes of stored features, once for all architectures whose backbone sees the same."""
        from scaling_lab.training.sizes import feature_bytes

        study = self.job.study
        if not study.recipe.views or self.data is None:
            return 0
        images = {f"{split}_images": study.data.length(split) for split in ("train", "val")}
        apart = {backbone_view(each.spec): each.spec for each in self._candidates(left)}
        return sum(feature_bytes(spec, study.recipe, **images) for spec in apart.values())

    def reading(self, places: Places) -> Reading | None:
        """Estimate the memory of read-ahead images; None where they are generated or read in the training process."""
        study, training = self.job.study, training_objective(self.job.study)
        readers = readers_beside(training.threads)
        if not self._reads or not readers:
            return None
        height, width = max((each.spec.image_size for each in self.space.within), key=math.prod)
        own_images = -(-study.recipe.batch_size // training.workers)
        shape = (own_images, height, width, 3)
        batches = study.data.length("train") // study.recipe.batch_size
        trial = training.workers * memory_size(shape, workers=readers, batches=batches)
        at_once = max(1, places.at_once)
        found = Reading(
            readers=readers * training.workers,
            batch=math.prod(shape),
            trial=trial,
            at_once=at_once,
            free=free_memory() if places.where == "this machine" else None,
        )
        if found.free is not None and trial * at_once > found.free:
            self.problems.append(
                f"read-ahead images need {trial * at_once / 1e9:.3g} GB of memory, but only "
                f"{found.free / 1e9:.3g} GB are free; lower cpus_per_trial (its cores but one, up to 16, read images)"
            )
        return found

    @property
    def _reads(self) -> bool:
        """Whether trials read images from disk."""
        return self.job.study.data.kind != "shapes" and self.has_batch and bool(self.space.within)

    @property
    def readers(self) -> int:
        """The processes of a trial that read images: its image readers, else the training processes."""
        training = training_objective(self.job.study)
        return training.workers * max(1, readers_beside(training.threads))

    def reader(self, left: Sequence[Architecture], *, measure: bool) -> float | None:
        """Time the images/s of one reader here, at the median image size; None where trials read no images each epoch."""
        study = self.job.study
        if not measure or not self._reads or study.recipe.views:
            return None
        from scaling_lab.training.reading_speed import reading_speed

        self.say("measuring the reading of images")
        specs = sorted((each.spec for each in self._candidates(left)), key=lambda spec: math.prod(spec.image_size))
        try:
            return reading_speed(specs[len(specs) // 2], study.data, study.recipe)  # type: ignore[arg-type]
        except UserError as error:
            self.problems.append(f"the data cannot be read here: {error}")
            return None

    def gpu_memory(self, left: Sequence[Architecture], named: Gpu | None) -> GpuMemory | None:
        """Count the memory that trials need on a GPU, and check it against the named one or this machine's."""
        study = self.job.study
        if not study.gpus_per_trial or not self.space.within:
            return None
        try:
            found = gpu_memory(study, self._candidates(left), named or seen_gpu())
        except UserError as error:
            self.problems.append(str(error))
            return None
        if problem := memory_problem(found, study):
            self.problems.append(problem)
        return found

    def gpu_time(
        self, left: Sequence[Architecture], time: Forecast | None, named: Gpu | None, reader: float | None
    ) -> GpuTime | None:
        """Return the GPU hours of the remaining trials, from measured steps or else from a published rate."""
        study = self.job.study
        if not study.gpus_per_trial or not self.has_batch:
            return None
        if time is not None:
            return measured_time(study, time)
        if study.workers_per_trial > 1:
            self.notes.append(
                f"GPU hours suppose that {study.workers_per_trial} GPUs do {study.workers_per_trial} times as much as one"
            )
        batch, feed = study.recipe.batch_size, None if reader is None else self.readers * reader
        images = study.recipe.epochs * (study.data.length("train") // batch) * batch
        return published_time(study, left, images=images, gpu=named or seen_gpu(), feed=feed)

    def time(
        self, left: Sequence[Architecture], finals: Sequence[Architecture], places: Places, *, measure: bool
    ) -> Forecast | None:
        """Time trials here and forecast the rest."""
        study = self.job.study
        reason = self._unmeasured([*left, *finals], measure)
        if reason is not None:
            self.notes.append(f"time is not measured: {reason}")
            return None
        training = training_objective(study)
        if training.workers > 1:
            self.notes.append(
                f"time is measured on the share of one of {training.workers} workers; what they exchange is not in it"
            )
        beside = max(1, min(places.at_once, trials_on_a_gpu(study))) - 1
        if beside:
            self.notes.append(f"time is measured with {beside + 1} trials at once on one GPU")
        chosen = picks(self._candidates(left), "gmacs")
        timed, wrong = time_architectures(study, training, chosen, beside, self.say)
        self.problems += wrong
        if not timed:
            return None
        found = forecast(timed, left, finals, study=study, at_once=max(1, places.at_once), device=device_name())
        self._check_limit(found)
        return found

    def _check_limit(self, found: Forecast) -> None:
        """Compare a trial's time here with the study's limit; other machines may be faster or slower."""
        limit, slowest = self.job.study.trial_seconds, found.slowest
        if limit is not None and slowest.high > limit:
            words = f"trial_seconds is {limit:g}, but the slowest trial takes {slowest.low:.0f} to {slowest.high:.0f} s here"
            (self.problems if slowest.low > limit else self.notes).append(words)

    def _candidates(self, left: Sequence[Architecture]) -> Sequence[Architecture]:
        """Return the architectures that may be trained; for a grid those of the remaining trials."""
        return left if left and self.job.study.is_exhaustive else self.space.within

    def _unmeasured(self, left: Sequence[Architecture], measure: bool) -> str | None:
        if not measure:
            return "--no-measure"
        if self.data is None or not self.has_batch:
            return "the data are not available"
        if not self.space.within:
            return "there is no architecture to train"
        if not left:
            return "no trial is left"
        gpus = self.job.study.gpus_per_trial
        if gpus and not _own_gpus():
            return f"gpus_per_trial is {gpus:g}, but torch sees no GPU on this machine"
        return None


def _check_choices(*, address: str | None, cpus: int | None, gpus: int | None, points: int) -> None:
    if address is not None:
        check_address(address)
    for name, value in (("cpus", cpus), ("gpus", gpus)):
        if value is not None and address is not None:
            raise UserError(
                f"--{name} {value} describes a single machine and cannot be combined with --address {address}"
            )
    check_whole("--points", points, least=1)
    if cpus is not None:
        check_whole("--cpus", cpus, least=1)
    if gpus is not None:
        check_whole("--gpus", gpus, least=0)


def _machine(study: Study, cpus: int | None, gpus: int | None) -> dict[str, float]:
    """Return this machine's resources, or those given in their place."""
    if gpus is None:
        gpus = _own_gpus() if study.gpus_per_trial else 0
    return {"CPU": cores() if cpus is None else cpus, "GPU": gpus}


def _own_gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _free_bytes(folder: Path) -> int:
    """Return the free bytes on the disk of an existing or planned folder."""
    path = folder.resolve()
    return shutil.disk_usage(next(each for each in (path, *path.parents) if each.exists())).free
