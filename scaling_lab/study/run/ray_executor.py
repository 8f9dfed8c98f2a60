"""Runs trials on Ray, on this machine or a cluster: starts it, checks that trials fit, stops it. tune_loop.py runs them.

Ray's state is never read back: a continued run starts Ray anew with the trials that the ledger lacks.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from scaling_lab.checks import check_whole
from scaling_lab.errors import UserError
from scaling_lab.machine import cores
from scaling_lab.signals import handlers_kept, undisturbed
from scaling_lab.study.run.bookkeeper import Bookkeeper
from scaling_lab.study.run.processes import make_mark, temporary_folder, watched
from scaling_lab.study.run.trial import MeasureLatency, Objective

# Set before the import of ray, which reads some of them.
_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # its header is printed at every verbosity
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's future default; without it a warning is printed
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # keeps relative paths to data valid
    "RAY_USAGE_STATS_ENABLED": "0",
    "SPT_NOENV": "1",  # else Ray's process titles overwrite the mark in the environment
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # the ledger replaces it
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000000",  # checked before the start
}
# A local Ray listens on loopback only, with a token that exists only in its processes' environment.
_OWN_RAY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
_TOKEN = secrets.token_hex(32)

# Nothing large goes through Ray's object store. Its least size is 75 MB, its default 30 % of memory.
_OBJECT_STORE = 100 * 2**20


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The resources of a trial, over all its workers, and those available: `cpus` here (None: all), or a cluster's.

    `at_once` is the number of trials at once on a cluster that grows until they fit; None: as many as fit now.
    """

    cpus_per_trial: float = 1
    gpus_per_trial: float = 0
    workers_per_trial: int = 1
    cpus: int | None = None
    address: str | None = None
    at_once: int | None = None

    @property
    def worker(self) -> dict[str, float]:
        """Return the resources of one worker, under Ray's names."""
        share = 1 / self.workers_per_trial
        return {"CPU": self.cpus_per_trial * share, "GPU": self.gpus_per_trial * share}

    def trials_at_once(self, nodes: list[Mapping[str, float]]) -> int:
        """Return the number of trials that fit the nodes. Raises UserError where none fits."""
        workers = self._workers(nodes)
        count = workers // self.workers_per_trial
        if count == 0:
            largest = max(nodes, key=lambda node: (node.get("GPU", 0), node.get("CPU", 0)), default={})
            there = f"the largest machine has {_words(largest.get('CPU', 0), largest.get('GPU', 0))}"
            if workers:
                there = f"only {workers} of {self.workers_per_trial} workers fit"
            raise UserError(
                f"a trial needs {_words(self.cpus_per_trial, self.gpus_per_trial)}, but {there}; "
                "lower cpus_per_trial or gpus_per_trial in the study"
                + (", or give --at-once for a cluster that grows" if self.address else "")
            )
        return count

    def fit(self, nodes: list[Mapping[str, float]]) -> bool:
        """Return whether a trial fits the nodes."""
        return self._workers(nodes) >= self.workers_per_trial

    def _workers(self, nodes: list[Mapping[str, float]]) -> int:
        """Return the number of workers that fit the nodes."""
        return sum(self._fit(node) for node in nodes)

    def _fit(self, node: Mapping[str, float]) -> int:
        """Return the number of workers that fit a node."""
        cpus, gpus = self.worker.values()
        fits = node.get("CPU", 0) / cpus
        if gpus:
            # A worker never spans GPUs: two of 0.6 do not fit on one, three of 0.3 do.
            fits = min(fits, node.get("GPU", 0) * int(1 / gpus + 1e-9))
        return int(fits + 1e-9)


def check_choices(*, executor: str, address: str | None, cpus: int | None, at_once: int | None = None) -> None:
    """Raise UserError for options without effect, and for more cores than the machine has."""
    if address is not None:
        check_address(address)
    for name, value in (("address", address), ("cpus", cpus)):
        if value is not None and executor == "local":
            raise UserError(f"--{name} {value} needs Ray; the local executor runs one trial at a time in this process")
    if cpus is not None and address is not None:
        raise UserError(f"--cpus {cpus} is for Ray on this machine; it cannot be combined with --address {address}")
    if at_once is not None:
        check_whole("--at-once", at_once, least=1)
        if address is None:
            raise UserError(f"--at-once {at_once} is for a cluster that grows; give its --address")
    if cpus is not None and not 1 <= cpus <= cores():
        raise UserError(f"--cpus is {cpus}; allowed are 1 to {cores()}, the usable cores of this machine")


def _words(cpus: float, gpus: float) -> str:
    return f"{cpus:g} CPU{'' if cpus == 1 else 's'} and {gpus:g} GPU{'' if gpus == 1 else 's'}"


def run_with_ray(
    bookkeeper: Bookkeeper,
    objective: Objective,
    *,
    resources: Resources,
    measure: MeasureLatency,
    trial_seconds: float | None,
    mark: str,
    is_interrupted: Callable[[], bool],
) -> None:
    """Run all that the bookkeeper proposes, as many trials at once as fit. `mark` marks the started processes.

    Raises KeyboardInterrupt soon after `is_interrupted` returns true, and UserError where no trial fits.
    """
    if resources.address is not None:
        check_reachable(resources.address)
    with watched(mark), connected(resources, mark) as ray:
        machines = _machines(ray)
        at_once = resources.at_once or resources.trials_at_once(machines)
        if not resources.fit(machines):
            bookkeeper.progress.say("no trial fits the cluster's machines yet: waiting for it to grow")
        bookkeeper.progress.concurrency = at_once
        # Trials on a cluster need a folder that all machines share.
        storage = bookkeeper.folder.path / "ray" if resources.address else temporary_folder(mark) / "tune"

        from scaling_lab.study.run.tune_loop import run_on_tune

        try:
            run_on_tune(
                bookkeeper,
                objective,
                name=f"trial_{mark}",
                worker=resources.worker,
                workers=resources.workers_per_trial,
                at_once=at_once,
                measure=measure,
                trial_seconds=trial_seconds,
                storage=storage.resolve(),
                is_interrupted=is_interrupted,
            )
        finally:
            shutil.rmtree(storage, ignore_errors=True)


def cluster_machines(address: str) -> list[Mapping[str, float]]:
    """Return the resources of each machine of a running cluster. Raises UserError where it does not answer."""
    check_reachable(address)
    with connected(Resources(address=address), make_mark()) as ray:
        return _machines(ray)


def _machines(ray: Any) -> list[Mapping[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def check_address(address: str, name: str = "--address") -> None:
    """Raise UserError for an invalid address of a cluster."""
    host, _, port = address.rpartition(":")
    is_port = port.isascii() and port.isdigit() and 0 < int(port) < 2**16
    if address != "auto" and not (host and is_port and "/" not in address):
        raise UserError(
            f"{name} is {address!r}; allowed are auto, on a machine of a running Ray cluster, and the HOST:PORT of the "
            "cluster's head, such as 10.0.0.5:6379"
        )


def check_reachable(address: str) -> None:
    """Raise UserError at once where Ray would wait for minutes."""
    check_address(address)
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", address)
        check_address(address, "RAY_ADDRESS")
    if address == "auto":  # the address of a Ray started on this machine
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise UserError(f"no Ray cluster answers at {address}: {error.strerror or error}") from None


@contextmanager
def connected(resources: Resources, mark: str) -> Iterator[Any]:
    """Connect to the cluster, or start a local Ray; disconnect or stop it at the end. Raises UserError."""
    os.environ.update(_ENVIRONMENT)
    if resources.address is None:
        os.environ.update(_OWN_RAY, RAY_AUTH_TOKEN=_TOKEN)
    import ray
    from ray._private import worker
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    # If ray was imported earlier, it cached the earlier authentication, and the local cluster would reject us.
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
    # Output of a lost worker goes to Ray's logs; the state of its trial to the ledger and the screen.
    worker.print_to_stdstream = lambda *_, **__: None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if resources.address is None:
        options |= {
            "num_cpus": resources.cpus or cores(),
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE,
            "_temp_dir": str(temporary_folder(mark)),
        }
    try:
        with handlers_kept(), _shared_imports():
            ray.init(address=resources.address or "local", **options)
    except Exception as error:  # Ray raises this type where a busy machine delays its start
        where = f"the cluster at {resources.address}" if resources.address else "Ray"
        raise UserError(f"{where} cannot be reached or started: {str(error).strip().partition(chr(10))[0]}") from None
    try:
        yield ray
    finally:
        # Left over after an interrupt, it would run at Python's exit and recreate its folder.
        with undisturbed() if resources.address is None else nullcontext():
            ray.shutdown()


@contextmanager
def _shared_imports() -> Iterator[None]:
    """Yield workers the import path of this process, such as a study's folder."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
