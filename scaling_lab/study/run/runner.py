"""Runs a study from start to end: the folder, the ledger, the executor, and a clean stop.

The same call continues a run that was stopped or killed: only what the ledger lacks is run.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count as count_from
from pathlib import Path
from typing import Any, TextIO

from scaling_lab.data.sources import absolute
from scaling_lab.errors import UserError
from scaling_lab.files import WriteError, write_whole
from scaling_lab.machine import cores
from scaling_lab.runs.lock import WriterLock
from scaling_lab.runs.reader import RunFolder
from scaling_lab.signals import interruptible, undisturbed
from scaling_lab.study.ledger.database import Ledger, TrialRow
from scaling_lab.study.ledger.provenance import provenance
from scaling_lab.study.ledger.samples import write_samples
from scaling_lab.study.run.bookkeeper import Bookkeeper
from scaling_lab.study.run.job import Job, check_objectives, check_same_protocol, make_folder, prepare
from scaling_lab.study.run.processes import clean_up, is_mark, make_mark
from scaling_lab.study.run.progress import Progress, by_kind
from scaling_lab.study.run.ray_executor import Resources, check_choices, run_with_ray
from scaling_lab.study.run.run_copies import RunCopies
from scaling_lab.study.run.shared_trial import SharedReading, train_first
from scaling_lab.study.run.trial import DEVICE_FAULT, Latency, MeasureLatency, Objective, Training
from scaling_lab.study.run.warm_start import check_warm_start, meta_of, read_warm_start
from scaling_lab.study.search.costs import Count
from scaling_lab.study.search.proposals import Proposals
from scaling_lab.study.space.study_file import StudyFile
from scaling_lab.study.study import Study
from scaling_lab.text import plural
from scaling_lab.training.recipe import Recipe
from scaling_lab.training.trackers import check_trackers

EXECUTORS = ("ray", "local")

# Failures of the machine, or by a limit: the trial continues from its checkpoint, with its full time. After the other
# kinds, code or data must have been fixed, so the trial starts over.
MACHINES_FAULT = ("lost_worker", DEVICE_FAULT, "out_of_memory", "time_limit")


def run_study(
    study: Study | StudyFile | str | Path,
    *,
    out: str | Path | None = None,
    executor: str = "ray",
    form: str | None = None,
    data: str | None = None,
    sampler: str | None = None,
    address: str | None = None,
    cpus: int | None = None,
    at_once: int | None = None,
    retry_failed: bool = False,
    objective: Objective | None = None,
    count: Count | None = None,
    latency: MeasureLatency | None = None,
    measure_latency: MeasureLatency | None = None,
    check: Callable[[Path], None] | None = None,
    features: str | Path | None = None,
    features_gb: float = 20.0,
    log: Sequence[str] = (),
    storage: str | None = None,
    warm_start: Sequence[str | Path] = (),
    stream: TextIO | None = sys.stdout,
) -> Path:
    """Run what a study lacks, and return the run's folder: `out`, or `runs/<study's file>[-<form>][-<sampler>]`.

    `data` ("shapes" or "coco:DIR") and `sampler` replace the study's own. `address` is a Ray cluster's, `cpus` the number
    of this machine's cores to use. `at_once` is the number of trials at once on a cluster that grows until they fit.
    `retry_failed` reruns failed trials. `objective`, `count` and `latency` replace training, counting and timing.
    `measure_latency` times complete trials that lack a latency at the end. `check` is called with the folder before any
    training. Features of frozen backbones are stored in the folder `features` (<run>/features), which runs may share and
    which may hold `features_gb`. `log` names trackers, "mlflow" and "wandb", that get each trial as a run. `storage`, such
    as "s3://bucket/runs", gets a copy of the run: checkpoints from where trials run, the ledger from here. A folder without
    a ledger is continued from there. `warm_start` are folders of other runs. A search with sampler "ehvi" takes their
    trials as a guess at its own; they are copied into the ledger at the first start.

    Raises UserError for errors that a user can fix. Ctrl-C or SIGTERM raises KeyboardInterrupt after a clean stop; the same
    call continues.
    """
    if executor not in EXECUTORS:
        raise UserError(f"executor {executor!r} is unknown; allowed are {', '.join(EXECUTORS)}")
    check_choices(executor=executor, address=address, cpus=cpus, at_once=at_once)
    job = prepare(study, out=out, form=form, data=data, sampler=sampler)
    check_warm_start(job.study, warm_start)
    if objective is None:
        check_objectives(job.study)
    check_trackers(log, job.name)
    if job.study.shared is not None and (log or storage is not None):
        name, value = ("log", tuple(log)) if log else ("storage", storage)
        raise UserError(f"{name} is {value!r}; allowed is none for a study with shared weights")
    folder = make_folder(job.folder)
    copies = None if storage is None else RunCopies(folder, storage)
    lock = WriterLock(folder.lock)
    try:
        was_taken = copies is not None and copies.take_over()
        run = _Run(job, folder, lock, stream=stream, executor=executor, copies=copies)
        if copies is not None:
            run.say(f"storage: {copies.storage.url}" + (", from which the run continues" if was_taken else ""))
        with run.closing():
            stored = Path(features) if features is not None else folder.features
            options: Any = {"features": stored, "features_gb": features_gb, "log": log, "name": job.name}
            options["data_digest"] = job.data_digest
            chosen = objective or trial_objective(job.study, folder, **options)
            if run.start(count=count, check=check, retry_failed=retry_failed, warm_start=warm_start):
                if isinstance(chosen, SharedReading):
                    run.train_shared(chosen)
                places: Any = {"address": address, "cpus": cpus, "at_once": at_once}
                run.execute(chosen, latency or trial_latency(job.study), **places)
            if measure_latency is not None:
                run.measure_latencies(measure_latency)
    except BrokenPipeError:  # the reader of our output is gone
        raise
    except sqlite3.IntegrityError:  # a bug
        raise
    except (sqlite3.DatabaseError, OSError, WriteError) as error:
        raise UserError(f"{folder.path}: {error}; finished work is kept, and the same command continues") from error
    finally:
        lock.release()
    return folder.path


class _Run:
    """One session of a run."""

    def __init__(
        self,
        job: Job,
        folder: RunFolder,
        lock: WriterLock,
        *,
        stream: TextIO | None,
        executor: str,
        copies: RunCopies | None = None,
    ) -> None:
        self.job, self.folder, self.executor, self.copies = job, folder, executor, copies
        self.mark = make_mark()
        self.stream = stream
        self.progress: Progress | None = None
        if is_mark(lock.previous.get("mark")):  # the last driver was killed
            clean_up(lock.previous["mark"], patience=0)
        lock.write({"mark": self.mark})
        self.ledger = Ledger(folder.ledger)
        self.session: int | None = None
        if copies is not None:
            copies.say = self.say
            copies.begin(self.mark)

    def say(self, text: str) -> None:
        """Print a line of progress."""
        if self.progress is not None:
            self.progress.say(text)
        elif self.stream is not None:
            print(text, file=self.stream, flush=True)

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Leave a ledger that can be continued, whatever ends the session."""
        try:
            yield
        except KeyboardInterrupt:
            with undisturbed():
                self.ledger.requeue_running()
                states = Counter(row.state for row in self.ledger.trials())
                ended = plural(sum(states.values()) - states["planned"], "trial")
                self.say(f"stopped with {ended} ended; the same command continues")
            raise
        finally:
            with undisturbed():
                self.ledger.requeue_running()
                if self.session is not None:
                    self.ledger.end_session(self.session)
                self.ledger.close()
                if self.copies is not None:
                    self.copies.copy_if_possible()

    def start(
        self,
        *,
        count: Count | None,
        check: Callable[[Path], None] | None,
        retry_failed: bool,
        warm_start: Sequence[str | Path],
    ) -> bool:
        """Record the study, and return whether there is anything to run. Raises UserError."""
        job = self.job
        before = self.ledger.meta()
        check_same_protocol(before, job, self.folder)
        known = before if self.ledger.trials() else None
        self.say(f"study:  {job.name}" + (f" (form {job.form})" if job.form else ""))
        self.say(f"data:   {job.study.data.describe()}\nfolder: {self.folder.path}")
        warm = read_warm_start(warm_start, job.study, before=known, folder=self.folder.path, say=self.say)
        self.ledger.requeue_running()
        if retry_failed:
            self._retry_failed()
        self.ledger.write_meta({**job.meta(), "planned_trials": job.study.trials, **meta_of(warm)})
        if check is not None:
            check(self.folder.path)
        self.proposals = Proposals(
            self.job.study,
            self.ledger,
            name=self.job.name,
            protocol=self.job.protocol,
            count=count,
            latencies=self.ledger.latencies(threads=0 if job.study.gpus_per_trial else _threads(job.study)),
            journal=self.folder.journal,
            warm_start=warm,
            say=self.say,
        )
        self._restore_specs()
        first = self.proposals.next()
        self.ledger.write_meta({**self.job.meta(), "planned_trials": self.proposals.planned})
        if first is None:
            self._say_done()
            return False
        self.proposals.put_back(first)
        ended = sum(row.state != "planned" for row in self.ledger.trials())
        self.say(f"trials: {self.proposals.planned}" + (f", {ended} of them done" if ended else ""))
        self._write_provenance()
        write_samples(self.job.study.data, self.folder)
        return True

    def train_shared(self, reading: SharedReading) -> None:
        """Train the study's shared weights in this process, or what they lack."""
        self.say(f"shared weights: in {reading.folder}; Ctrl-C stops cleanly, and the same command continues")
        train_first(self.job.study, reading, say=self.say)

    def execute(
        self,
        objective: Objective,
        measure: MeasureLatency,
        *,
        address: str | None,
        cpus: int | None,
        at_once: int | None = None,
    ) -> None:
        """Run all planned trials."""
        assert self.session is not None
        study = self.job.study
        rows = self.ledger.trials()
        self.say(f"{self._where(address, cpus)}; Ctrl-C stops cleanly, and the same command continues")
        progress = Progress(
            self.stream,
            planned=self.proposals.planned,
            states=Counter(row.state for row in rows),
            kinds=_kinds(rows),
        )
        bookkeeper = Bookkeeper(
            folder=self.folder,
            ledger=self.ledger,
            proposals=self.proposals,
            progress=progress,
            session=self.session,
            copies=self.copies,
        )
        self.progress = progress
        try:
            with interruptible(self.say, at_once=self.executor == "local") as is_interrupted:
                if self.executor == "local":
                    from scaling_lab.study.run.local_executor import run_locally

                    run_locally(
                        bookkeeper,
                        objective,
                        measure=measure,
                        gpus_per_trial=study.gpus_per_trial,
                        trial_seconds=study.trial_seconds,
                    )
                else:
                    resources = Resources(
                        cpus_per_trial=study.trial_cpus,
                        gpus_per_trial=study.gpus_per_trial,
                        workers_per_trial=study.workers_per_trial,
                        cpus=cpus,
                        address=address,
                        at_once=at_once,
                    )
                    run_with_ray(
                        bookkeeper,
                        objective,
                        resources=resources,
                        measure=measure,
                        trial_seconds=study.trial_seconds,
                        mark=self.mark,
                        is_interrupted=is_interrupted,
                    )
        finally:
            progress.close()
            self.progress = None
        self.ledger.write_meta({**self.job.meta(), "planned_trials": self.proposals.planned})
        self._say_done()

    def measure_latencies(self, measure: MeasureLatency) -> None:
        """Measure the architectures of complete trials that have no latency yet."""
        measured = {architecture for architecture, _ in self.ledger.measured()}
        architectures = self.ledger.architectures()
        complete = {row.architecture for row in self.ledger.trials() if row.state == "complete"}
        missing = [architectures[digest].spec for digest in architectures if digest in complete - measured]
        if missing:
            self.say(f"measuring the latency of {plural(len(missing), 'architecture')}")
            for row in measure(missing):
                self.ledger.add_latency(row)

    def _say_done(self) -> None:
        rows = self.ledger.trials()
        kinds = _kinds(rows)
        stopped = [row for row in rows if row.state == "stopped"]
        if not rows:
            words = self._nothing()
        elif len(rows) == 1:
            words = "the only trial " + ("failed; --retry-failed runs it again" if kinds else "is done")
        else:
            words = f"all {len(rows)} trials are done"
            if stopped:
                saved = sum(row.epochs - row.epochs_done for row in stopped)
                words += f", {len(stopped)} of them stopped early ({saved} of {sum(row.epochs for row in rows)} epochs saved)"
            if kinds:
                words += f", {kinds.total()} of them failed ({by_kind(kinds)}); --retry-failed runs those again"
        self.say(words)

    def _nothing(self) -> str:
        """Return why a study has no trial."""
        refused = [costs for _, costs in self.ledger.rejections()]
        if not refused:
            return "no trial: the search space has no point"
        least = [
            f"the least {name} is {min(known):.3g}, the limit {limit:g}"
            for name, limit in self.job.study.limits.items()
            if (known := [costs[name] for costs in refused if name in costs])
        ]
        return f"no trial: the limits reject all of {plural(len(refused), 'point')}; {', '.join(least)}"

    def _where(self, address: str | None, cpus: int | None) -> str:
        if self.executor == "local":
            return "running in this process, one trial at a time"
        if address is not None:
            return f"connecting to Ray at {address}"
        return f"starting Ray on {plural(cpus or cores(), 'core')}"

    def _retry_failed(self) -> None:
        failed = [row for row in self.ledger.trials() if row.state == "failed"]
        anew = [row.id for row in failed if row.failure_kind not in MACHINES_FAULT]
        for trial in anew:
            if self.copies is None:
                _set_aside(self.folder.trial(trial))
            else:
                self.copies.set_aside(trial)
        self.ledger.requeue_failed(anew=anew)
        if failed:
            self.say(f"{plural(len(failed), 'failed trial')} will be rerun")

    def _restore_specs(self) -> None:
        """Restore missing or damaged spec files from the ledger."""
        for digest, text in self.ledger.spec_texts().items():
            path = self.folder.specs / f"{digest}.json"
            if not path.is_file() or path.read_bytes() != text.encode():
                write_whole(path, text)

    def _write_provenance(self) -> None:
        values = provenance()
        self.session = self.ledger.start_session(executor=self.executor, provenance=values)
        job = self.job
        whole = {
            **values,
            "study": job.name,
            "form": job.form,
            "session": self.session,
            "executor": self.executor,
            "seeds": list(job.study.seeds),
            "data": job.study.data.to_dict(),
            "data_digest": job.data_digest,
            "recipe": job.study.recipe.to_dict(),
            "protocol": job.protocol,
            "warm_start": self.ledger.meta().get("warm_start", []),
        }
        write_whole(self.folder.provenance, json.dumps(whole, indent=1) + "\n")


def _kinds(rows: Iterable[TrialRow]) -> Counter[str]:
    return Counter(row.failure_kind for row in rows if row.failure_kind is not None)


def _set_aside(folder: Path) -> None:
    """Move a failed trial's files, error.txt above all, to a folder beside its own."""
    if folder.exists():
        names = (folder.with_name(f"{folder.name}.failed-{number}") for number in count_from(1))
        folder.rename(next(name for name in names if not name.exists()))


def trial_objective(study: Study, folder: RunFolder, **options: Any) -> Objective:
    """Return the objective of a study in a run's folder: training, or reading shared weights. `options` are as below."""
    training = training_objective(study, **options)
    if study.shared is None:
        return training
    return SharedReading(training=training, folder=str((folder.path / "shared").resolve()), seed=study.seeds[0])


def training_objective(
    study: Study,
    *,
    features: Path | None = None,
    features_gb: float = 20.0,
    data_digest: str | None = None,
    log: Sequence[str] = (),
    name: str = "",
) -> Training:
    """Return the objective that trains as the study specifies, with features of frozen backbones stored in a folder.

    Its paths are absolute, since workers on other nodes have other working folders. `data_digest` is that of the study's
    data, if known. `log` names the trackers that get each trial as a run of the study's `name`.
    """
    return Training(
        data=absolute(study.data).to_dict(),
        recipe=_absolute(study.recipe).to_dict(),
        device=_device(study),
        threads=_threads(study),
        workers=study.workers_per_trial,
        gpu_share=study.gpus_per_trial / study.workers_per_trial,
        features=None if features is None else str(features.resolve()),
        features_gb=features_gb,
        data_digest=data_digest,
        log=tuple(log),
        study=name,
    )


def _absolute(recipe: Recipe) -> Recipe:
    """Return the recipe with the path of its pretrained weights as an absolute one."""
    if not isinstance(recipe.pretrained, str):
        return recipe
    return dataclasses.replace(recipe, pretrained=os.path.abspath(recipe.pretrained))


def trial_latency(study: Study) -> Latency:
    """Return the latency measurement on the device and threads of a study's trials."""
    return Latency(device=_device(study), threads=_threads(study))


def _device(study: Study) -> str:
    return "cuda" if study.gpus_per_trial > 0 else "cpu"


def _threads(study: Study) -> int:
    return max(1, int(study.trial_cpus / study.workers_per_trial))
