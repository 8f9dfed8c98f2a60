"""One trial on several workers, which are actors in the trial's own placement group.

    tune.report  <-  run_with_workers, in Tune's own actor  <-  worker 0: run_trial(objective)
                                                            <-  worker 1 ...: the same, without reports

The head trains nothing, so it notices a lost worker at once, while the other workers would wait for it forever on GPUs.
Importing this imports ray.
"""

from __future__ import annotations

import dataclasses
import queue
import secrets
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.storage import Storage
from scaling_lab.study.run.places import Device, Place
from scaling_lab.study.run.trial import Objective, Outcome, Stopped, device_name, run_trial
from scaling_lab.training.hardware_faults import is_between_workers

# Threads for run, next_report and go_on.
_CALLS_AT_ONCE = 3
# Time for Ray to notice that a worker is lost.
_SECONDS_TO_NOTICE = 10.0


def here() -> Place:
    """Return where this worker of Ray runs; the node's name is its address."""
    node, gpus = ray.get_runtime_context().get_node_id(), ray.get_gpu_ids()
    return Place(node=node, name=ray.util.get_node_ip_address(), gpus=tuple(str(gpu) for gpu in gpus))


def run_with_workers(
    objective: Objective,
    *,
    spec: DetectorSpec,
    seed: int,
    folder: Path,
    report: Callable[[dict[str, Any], str], None],
    storage: Storage | None = None,
    left_out: Collection[Device] = (),
    **options: Any,
) -> Outcome:
    """Run one trial to its end, like `run_trial`, in a worker for each bundle of the trial's placement group.

    `report` also gets worker 0's device; `options` are further options of `run_trial`. Where a worker is on a device that
    is `left_out`, nothing is run, and the outcome's state is "held". With a storage, all workers must be on one node.
    Raises Ray's error where a worker is lost; Tune then restarts the trial.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for meeting in folder.glob("meeting-*"):  # left by a killed head
        meeting.unlink()
    # A new name each time, since workers of an earlier start may still run.
    meeting = folder / f"meeting-{secrets.token_hex(4)}"
    workers = _start()
    try:
        places = ray.get([worker.place.remote() for worker in workers])
        if any(place.is_left_out(left_out) for place in places):
            return Outcome(state="held")
        on_one_node = len({place.node for place in places}) == 1
        if storage is not None and not on_one_node:  # the others read the checkpoint that worker 0 fetches
            message = "its workers are on several nodes, which with --storage must be one; lower workers_per_trial"
            return Outcome(state="failed", kind="bad_input", message=message)
        runs = []
        for rank, (worker, place) in enumerate(zip(workers, places, strict=True)):
            member = _Member(rank, len(workers), meeting, "127.0.0.1" if on_one_node else place.name)
            own = options | {"storage": None if rank else storage}  # all join, and so wait, before they read files
            runs.append(worker.run.remote(objective, member, spec=spec, seed=seed, folder=folder, **own))
        rank, outcome = _follow(workers[0], runs, report)
        is_shared = is_between_workers(outcome.message or "")
        return dataclasses.replace(outcome, places=tuple(places) if is_shared else (places[rank],))
    except Stopped:
        return Outcome(state="stopped")
    finally:
        for worker in workers:
            ray.kill(worker)
        meeting.unlink(missing_ok=True)


def _start() -> list[Any]:
    group = ray.util.get_current_placement_group()
    return [
        _Worker.options(  # type: ignore[attr-defined]
            num_cpus=bundle.get("CPU", 0),
            num_gpus=bundle.get("GPU", 0),
            max_concurrency=_CALLS_AT_ONCE,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=place),
        ).remote()
        for place, bundle in enumerate(group.bundle_specs)
    ]


def _follow(main: Any, runs: list[Any], report: Callable[[dict[str, Any], str], None]) -> tuple[int, Outcome]:
    """Pass on worker 0's reports until all end or one fails. Return worker 0's rank and outcome, or those of the failure."""
    left = list(runs)
    outcomes: dict[Any, Outcome] = {}
    told = main.next_report.remote()
    while left:
        (done,), _ = ray.wait([told, *left])
        if done == told:
            report(*ray.get(told))
            main.go_on.remote()
            told = main.next_report.remote()
            continue
        left.remove(done)
        outcomes[done] = ray.get(done)
        if outcomes[done].state != "complete":
            return _first_cause(runs, left, outcomes, done)
    return 0, outcomes[runs[0]]


def _first_cause(runs: list[Any], left: list[Any], outcomes: dict[Any, Outcome], failed: Any) -> tuple[int, Outcome]:
    """Return the rank and outcome of a failure, or of another worker's that caused it. Raises Ray's error of a lost worker.

    The others notice the end of a worker as an error of their connection, often before Ray notices it.
    """
    if left and is_between_workers(outcomes[failed].message or ""):
        for other in ray.wait(left, num_returns=len(left), timeout=_SECONDS_TO_NOTICE)[0]:
            outcomes[other] = ray.get(other)
            if outcomes[other].state == "failed" and not is_between_workers(outcomes[other].message or ""):
                failed = other
    return runs.index(failed), outcomes[failed]


def _say_nothing(_: dict[str, Any]) -> None:
    """The report of workers other than worker 0."""


@dataclass(frozen=True)
class _Member:
    """A worker's place in the group."""

    rank: int
    size: int
    meeting: Path
    address: str


@ray.remote(max_restarts=0)
class _Worker:
    """A worker. It never leaves its group, since the others would fail before the head knows why."""

    def __init__(self) -> None:
        self._reports: queue.SimpleQueue[tuple[dict[str, Any], str]] = queue.SimpleQueue()
        self._may_go_on = threading.Semaphore(0)

    def place(self) -> Place:
        """Return where this worker runs."""
        return here()

    def run(
        self, objective: Objective, member: _Member, *, spec: DetectorSpec, seed: int, folder: Path, **options: Any
    ) -> Outcome:
        """Run the objective. Only worker 0 reports; other workers write errors to their own folders."""
        from scaling_lab.training.joining import join

        has_gpu = bool(ray.get_gpu_ids())

        def join_and_run(spec: DetectorSpec, seed: int, _: Path, report: Any) -> Any:
            device = "cuda:0" if has_gpu else "cpu"
            join(member.rank, member.size, meeting=member.meeting, device=device, address=member.address)
            return objective(spec, seed, folder, report)

        own, report = (folder, self._report) if member.rank == 0 else (folder / f"worker-{member.rank}", _say_nothing)
        outcome = run_trial(join_and_run, spec=spec, seed=seed, folder=own, report=report, **options)
        if member.rank and own.is_dir() and not any(own.iterdir()):
            own.rmdir()
        return outcome

    def _report(self, metrics: dict[str, Any]) -> None:
        self._reports.put((metrics, device_name()))
        self._may_go_on.acquire()

    def next_report(self) -> tuple[dict[str, Any], str]:
        """Wait for worker 0's next report. Worker 0 then waits for `go_on`."""
        return self._reports.get()

    def go_on(self) -> None:
        """Let worker 0 continue after its report."""
        self._may_go_on.release()
