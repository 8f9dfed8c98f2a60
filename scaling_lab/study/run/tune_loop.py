"""Ray Tune's loop between the bookkeeper and the workers, on a running Ray.

    bookkeeper.next   ->  _Proposed  ->  Tune  ->  a worker: run_trial(objective)
    bookkeeper.ended  <-  _Events    <-  Tune  <-  tune.report
                          _Decisions ->  Tune  ->  the trials to stop

After a fault of hardware the bookkeeper proposes the trial again, which is then another trial of Tune. A worker on a device
that is left out runs nothing. It holds the device, so that Ray gives it to no other trial.

Importing this imports ray; ray_executor.py does so once the environment is set.
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
import json
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.data.readers import LostReader
from scaling_lab.errors import UserError
from scaling_lab.storage import Storage
from scaling_lab.study.run.bookkeeper import Bookkeeper
from scaling_lab.study.run.places import Device
from scaling_lab.study.run.retries import Checkpoints
from scaling_lab.study.run.time_limit import past, traced
from scaling_lab.study.run.trial import (
    DEVICE_FAULT,
    LOST_WORKER_RETRIES,
    MeasureLatency,
    Objective,
    Outcome,
    Stopped,
    device_name,
    run_trial,
)
from scaling_lab.study.run.trial_workers import here, run_with_workers
from scaling_lab.study.search.proposal import Proposal

# Time for a stopped worker to close its trial. Tune's own two seconds are too short for a trial that ends its loader
# processes. The next trial, which waits for the worker, would be lost silently.
_SECONDS_TO_END = 600

# Tune keeps every trial, 50 kB each, and scans them all repeatedly. So one run of Tune has at most this many trials, or
# this many for each concurrent one; at its end all wait for the last.
_MOST_TRIALS, _TRIALS_A_PLACE = 1000, 20
# After an error on a GPU, later calls may fail and memory may stay allocated. Our own code raises the other kinds.
DAMAGING = ("error", "out_of_memory", DEVICE_FAULT)

# Between the reports of a worker that holds a device.
_HOLDING_SECONDS = 1.0
# Between two looks at the checkpoints of running trials.
_LOOK_SECONDS = 1.0


def run_on_tune(
    bookkeeper: Bookkeeper,
    objective: Objective,
    *,
    name: str,
    worker: Mapping[str, float],
    workers: int,
    at_once: int,
    measure: MeasureLatency,
    trial_seconds: float | None,
    storage: Path,
    is_interrupted: Callable[[], bool],
) -> None:
    """Run all that the bookkeeper proposes, `at_once` trials at a time, none for longer than `trial_seconds`.

    Each trial has `workers` workers with the CPU and GPU of `worker`. `measure` measures latencies where they are
    needed. On a shared cluster, trainables are distinguished by `name`. Raises KeyboardInterrupt once
    `is_interrupted`, with trials still running; Ray must then be stopped.
    """
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(at_once)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL + 1)
    # Several workers have a head without resources before them, and end with their trial: a worker killed in the middle
    # of a step cannot leave its group.
    bundles = [dict(worker)] if workers == 1 else [{}, *([dict(worker)] * workers)]
    trainable = tune.with_resources(
        _make_trainable(objective, measure, name, workers), tune.PlacementGroupFactory(bundles)
    )
    first: Proposal | None = None
    for run in itertools.count():
        proposed = _Proposed(bookkeeper, at_once, trial_seconds, first=first)
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=proposed,
                scheduler=_Decisions(bookkeeper, proposed),
                num_samples=-1,
                reuse_actors=workers == 1,
            ),
            run_config=tune.RunConfig(
                name=f"tune{run}",
                storage_path=str(storage),
                verbose=0,
                callbacks=[_Events(bookkeeper, proposed, is_interrupted)],
                failure_config=tune.FailureConfig(max_failures=LOST_WORKER_RETRIES),
            ),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                tuner.fit()
            except _Leave as leave:
                raise leave.cause from None
        first = proposed.left_over
        if first is None:
            return
        del tuner
        gc.collect()  # Tune's objects have reference cycles


def _make_trainable(
    objective: Objective, measure: MeasureLatency, name: str, workers: int
) -> Callable[[dict[str, Any]], None]:
    """Wrap the objective for a worker, which is reused unless a failure may have damaged it."""

    def trial(config: dict[str, Any]) -> None:
        os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = str(_SECONDS_TO_END)

        def tell(event: dict[str, Any]) -> None:
            try:
                tune.report({"event": json.dumps(event)})
            except SystemExit:  # how Tune stops a trial
                raise Stopped from None

        def measure_first() -> None:
            for row in measure([spec]):
                tell({"latency": dict(row)})

        spec = DetectorSpec.from_dict(config["spec"])

        def report(metrics: dict[str, Any], device: str | None = None) -> None:
            tell({"epoch": metrics, "device": device or device_name()})

        outcome = _run(
            workers,
            objective,
            spec=spec,
            seed=config["seed"],
            folder=Path(config["folder"]),
            report=report,
            left_out=[(node, gpu) for node, gpu in config["left_out"]],
            before=measure_first if config["is_timed"] else None,
            limit=partial(traced, seconds=config["seconds"]),
            storage=None if config["storage"] is None else Storage(config["storage"]),
        )
        if outcome.state == "held":
            outcome = _hold(tell)
        if outcome.state == "stopped":
            # Tune asked for the stop and waits for this thread; another report would wait for Tune, a deadlock.
            raise SystemExit(0)
        if outcome.kind == "lost_worker":
            raise LostReader(outcome.message)  # treated as a lost worker: Tune restarts the trial
        # As text, since Tune keeps statistics of every reported number.
        tune.report({"event": json.dumps({"outcome": outcome.to_dict()})})
        if outcome.kind in DAMAGING:
            raise RuntimeError(f"this worker is not reused: {outcome.message}")

    trial.__name__ = name
    return trial


def _run(workers: int, objective: Objective, *, left_out: Collection[Device], **options: Any) -> Outcome:
    """Run a trial here or in its workers. On a device that is left out nothing is run; the outcome's state is "held"."""
    if workers > 1:
        return run_with_workers(objective, left_out=left_out, **options)
    place = here()
    if place.is_left_out(left_out):
        return Outcome(state="held")
    return dataclasses.replace(run_trial(objective, **options), places=(place,))


def _hold(tell: Callable[[dict[str, Any]], None]) -> Outcome:
    """Keep this worker's resources until the driver stops it."""
    try:
        while True:
            tell({"held": True})
            time.sleep(_HOLDING_SECONDS)
    except Stopped:
        return Outcome(state="stopped")


class _Proposed(Searcher):  # type: ignore[misc]
    """Passes the bookkeeper's proposals to Tune, each only when there is room, so that the sampler knows all results.

    After the most trials for one run of Tune, `left_over` is the `first` of the next run.
    """

    def __init__(self, bookkeeper: Bookkeeper, at_once: int, seconds: float | None, *, first: Proposal | None) -> None:
        super().__init__()
        self.left_over: Proposal | None = None
        self._first, self._left = first, max(_MOST_TRIALS, _TRIALS_A_PLACE * at_once)
        self.running: dict[int, Proposal] = {}
        self.trials: dict[int, Trial] = {}  # Tune's own, of those that have started
        self._ids: dict[int, str] = {}  # Tune's ids of the running; a trial that goes on after a fault has another
        self._holding: set[str] = set()  # Tune's ids of those that hold a device
        self._is_finished = False
        self._seconds = seconds
        self._bookkeeper, self._at_once = bookkeeper, at_once

    def suggest(self, trial_id: str) -> Any:
        if len(self.running) >= self._at_once - len(self._holding):
            return None
        with _leaving():
            proposal = self._first or self._bookkeeper.next()
        # Tune asks no more once it is finished, but the running ones may meet a fault and be proposed again.
        if proposal is None and (self.running or self._bookkeeper.waits):
            return None
        if proposal is None or self._left == 0:
            self.left_over, self._is_finished = proposal, True
            return Searcher.FINISHED
        self.running[proposal.trial], self._ids[proposal.trial] = proposal, trial_id
        self._first, self._left = None, self._left - 1
        storage = self._bookkeeper.storage_of(proposal.trial)
        return {
            "trial": proposal.trial,
            "spec": proposal.spec.to_dict(),
            "seed": proposal.seed,
            "seconds": self._seconds,
            "is_timed": proposal.is_timed,
            "left_out": [list(device) for device in sorted(self._bookkeeper.faults.left_out)],
            "folder": str(self._bookkeeper.folder.trial(proposal.trial).resolve()),
            "storage": None if storage is None else storage.url,
        }

    def is_running(self, trial: Trial) -> bool:
        """Return whether a trial of Tune is that of a running trial."""
        return bool(self._ids.get(trial.config["trial"]) == trial.trial_id)

    def remove(self, trial: int) -> None:
        """Make room for the next trial."""
        del self.running[trial], self._ids[trial]
        self.trials.pop(trial, None)

    def ended(self, trial: int, outcome: Outcome) -> None:
        """Record how a trial ended, and make room for the next."""
        self.remove(trial)
        self._bookkeeper.ended(trial, outcome)

    def holds(self, trial: Trial) -> bool:
        """Record that a trial of Tune holds a device that is left out. Return whether it continues to.

        Raises UserError where there is no room for any trial beside it.
        """
        if self.is_running(trial):
            trial.max_failures = 0
            self.remove(trial.config["trial"])
            self._bookkeeper.put_off(trial.config["trial"])
            self._holding.add(trial.trial_id)
        if len(self._holding) >= self._at_once:
            raise UserError(
                "all devices on which a trial fits are left out; finished work is kept, and the same command continues"
            )
        return not self._is_finished

    def holds_no_more(self, trial: Trial) -> None:
        """Record that a trial of Tune was lost while it held a device."""
        self._holding.discard(trial.trial_id)

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Do nothing; the events have reported it."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing; the ledger has the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Not supported; the state is in the ledger."""
        raise NotImplementedError

    def __reduce__(self) -> Any:
        return str, ()  # Tune pickles it for a restore that is never used


class _Decisions(FIFOScheduler):  # type: ignore[misc]
    """Passes workers' reports to the bookkeeper, and stops to Tune, which asks only a scheduler for them."""

    def __init__(self, bookkeeper: Bookkeeper, proposed: _Proposed) -> None:
        super().__init__()
        self._bookkeeper, self._proposed = bookkeeper, proposed

    def on_trial_result(self, controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        event = json.loads(result["event"])
        with _leaving():
            if "held" in event:
                return str(TrialScheduler.CONTINUE if self._proposed.holds(trial) else TrialScheduler.STOP)
            if not self._proposed.is_running(trial):  # its time was up before this report arrived
                return str(TrialScheduler.CONTINUE)
            if "outcome" in event:
                return self._end(trial, Outcome.from_dict(event["outcome"]))
            if "latency" in event:
                return self._time(trial, event["latency"])
            if self._bookkeeper.reported(trial.config["trial"], event["epoch"]):
                return str(TrialScheduler.CONTINUE)
            self._end(trial, Outcome(state="stopped", device=event["device"]))
            return str(TrialScheduler.STOP)

    def _time(self, trial: Trial, latency: Mapping[str, Any]) -> str:
        if self._bookkeeper.timed(trial.config["trial"], latency):
            return str(TrialScheduler.CONTINUE)
        trial.max_failures = 0
        self._proposed.remove(trial.config["trial"])
        return str(TrialScheduler.STOP)

    def _end(self, trial: Trial, outcome: Outcome) -> str:
        trial.max_failures = 0  # a worker that ends itself does not count as lost
        self._proposed.ended(trial.config["trial"], outcome)
        return str(TrialScheduler.CONTINUE)

    def __reduce__(self) -> Any:
        return str, ()


class _Events(tune.Callback):  # type: ignore[misc]
    """Tells the bookkeeper which workers start and which are lost, and lets it refresh the screen."""

    def __init__(self, bookkeeper: Bookkeeper, proposed: _Proposed, is_interrupted: Callable[[], bool]) -> None:
        self._bookkeeper, self._proposed, self._is_interrupted = bookkeeper, proposed, is_interrupted
        self._checkpoints, self._looked = Checkpoints(), -math.inf

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if self._is_interrupted():
            raise _Leave(KeyboardInterrupt())
        with _leaving():
            self._bookkeeper.tick()
            for number in self._bookkeeper.overdue():
                self._kill(number)
            self._forgive()

    def _forgive(self) -> None:
        """Let trials that have moved on since their last loss lose their workers as often as at the start."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        for trial in self._proposed.trials.values():
            if self._checkpoints.has_changed(Path(trial.config["folder"])):
                trial.max_failures = trial.num_failures + LOST_WORKER_RETRIES

    def _kill(self, number: int) -> None:
        """Kill the worker of a trial past its time, which may hang in C code."""
        trial = self._proposed.trials[number]
        trial.max_failures = 0
        message = past(trial.config["seconds"])
        self._proposed.ended(number, Outcome(state="failed", kind="time_limit", message=message))
        ray.kill(trial.temporary_state.ray_actor)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        number = trial.config["trial"]
        self._proposed.trials[number] = trial
        with _leaving():
            self._bookkeeper.started(self._proposed.running[number])

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        with _leaving():
            self._bookkeeper.lost(trial.config["trial"], _lost_reader(_last_failure(trial)))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        number = trial.config["trial"]
        with _leaving():
            self._proposed.holds_no_more(trial)
            if self._proposed.is_running(trial):
                if number not in self._proposed.trials:  # lost at each start
                    self._bookkeeper.started(self._proposed.running[number])
                self._proposed.ended(number, _lost(trial))

    def __reduce__(self) -> Any:
        return str, ()


def _lost(trial: Trial) -> Outcome:
    """Return the outcome of a trial that repeatedly lost its worker. Ray reports workers it killed itself."""
    times = f"its worker was lost {LOST_WORKER_RETRIES + 1} times"
    last = _last_failure(trial)
    if "low on memory" in last:
        message = f"{times}, the last time because the machine was low on memory"
        return Outcome(state="failed", kind="out_of_memory", message=message)
    reason = _lost_reader(last)
    message = f"{times}, the last time because {reason}" if reason else f"{times}, perhaps killed for lack of memory"
    return Outcome(state="failed", kind="lost_worker", message=message)


def _last_failure(trial: Trial) -> str:
    """Return Ray's text on a trial's last failure."""
    return Path(trial.error_file).read_text(encoding="utf-8").rpartition("Failure #")[2]


def _lost_reader(failure: str) -> str | None:
    """Return the message of a lost image reader, or None for another failure."""
    return (
        failure.rpartition(f"{LostReader.__name__}: ")[2].partition("\n")[0] if LostReader.__name__ in failure else None
    )


class _Leave(BaseException):
    """Carries an error out of Tune's loop, past handlers that would wait ten minutes for running trials."""

    def __init__(self, cause: BaseException) -> None:
        self.cause = cause


@contextmanager
def _leaving() -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        raise _Leave(error) from error
