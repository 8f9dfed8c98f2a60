"""Runs one trial in its process: calls the objective, passes on its reports, and turns any end into an outcome.

It raises no errors and writes only into the trial's folder.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import math
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.checks import is_whole
from scaling_lab.data.readers import LostReader, readers_beside
from scaling_lab.errors import UserError
from scaling_lab.files import WriteError, append_line
from scaling_lab.processor import cpu_name
from scaling_lab.storage import Storage, StorageError
from scaling_lab.study.run.places import Place
from scaling_lab.study.run.time_limit import TimeUp
from scaling_lab.study.run.trial_copies import TrialCopies
from scaling_lab.training.failures import Diverged, Failure
from scaling_lab.training.hardware_faults import fault_line
from scaling_lab.training.recipe import Recipe

Report = Callable[[dict[str, Any]], None]

# Not caused by the trial, and any further trial would fail too: it ends the session; the trial can continue.
DISK_FULL = "disk_full"

# A fault of hardware: the trial continues from its checkpoint, elsewhere if it can.
DEVICE_FAULT = "device_fault"

# How often a trial is restarted after losing its worker or a process that reads its images, and after faults of hardware,
# unless its checkpoint has changed.
LOST_WORKER_RETRIES = 2

# Given (spec, seed, the trial's folder, report): reports each epoch as a dict with "epoch" from 1, and returns the final
# metrics. A folder with a checkpoint.pt is continued from it. On Ray, a trial with several workers calls it in each, in a
# torch.distributed group; only worker 0 reports and writes.
Objective = Callable[[DetectorSpec, int, Path, Report], Mapping[str, Any]]


# Given specs: returns a row of the ledger's `latencies` for each.
MeasureLatency = Callable[[list[DetectorSpec]], Iterable[Mapping[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended. `state` is complete, stopped, failed, or refused by a limit before training.

    A failure has one of the ledger's kinds, or DISK_FULL. `places` are where a fault of hardware may have been.
    """

    state: str
    metrics: Mapping[str, Any] = field(default_factory=dict)
    kind: str | None = None
    message: str | None = None
    device: str | None = None
    places: tuple[Place, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Outcome:
        """Return the outcome of a `to_dict` result."""
        places = (Place(**{**place, "gpus": tuple(place["gpus"])}) for place in values["places"])
        return cls(**{**values, "places": tuple(places)})


@dataclass(frozen=True, kw_only=True)
class Training:
    """The objective that trains: scaling_lab.training.train on a data source and a recipe, both plain values.

    It takes `workers`, each with `threads` threads, and starts them on this machine unless called within each of them.
    Each gets a share of a GPU, `gpu_share`, and no more of its memory. `features` is the folder of stored features of
    frozen backbones, which may hold `features_gb`. `data_digest` is the data's, which a trial need not compute again. `log`
    names the trackers that get each trial as a run of the experiment `study`.
    """

    data: dict[str, Any]
    recipe: dict[str, Any]
    device: str
    threads: int
    workers: int = 1
    gpu_share: float = 1.0
    features: str | None = None
    features_gb: float = 20.0
    data_digest: str | None = None
    log: tuple[str, ...] = ()
    study: str = ""

    def __call__(self, spec: DetectorSpec, seed: int, folder: Path, report: Report) -> Mapping[str, Any]:
        """Train one detector."""
        import torch

        from scaling_lab.data import source_from_dict
        from scaling_lab.features.build import FeatureFolder
        from scaling_lab.training import group, out_of_memory
        from scaling_lab.training.curves import Curves
        from scaling_lab.training.together import train_together
        from scaling_lab.training.trackers import Trackers, run_params

        def drawn(metrics: dict[str, Any]) -> None:
            curves.write(metrics)
            trackers.epoch(metrics)
            report(metrics)

        processes = 1 if group.size() > 1 else self.workers
        torch.set_num_threads(self.threads * processes)
        if self.device == "cuda":
            out_of_memory.limit_to(self.gpu_share)
        curves = Curves(folder)
        limits: Any = {"limit_gb": self.features_gb, "data_digest": self.data_digest}
        features = FeatureFolder(root=Path(self.features), **limits) if self.features else None
        source, recipe = source_from_dict(self.data), Recipe.from_dict(self.recipe)
        params = partial(run_params, spec, source, recipe, seed)
        places: Any = {"experiment": self.study, "run": f"{self.study}/{folder.name}", "folder": folder}
        with Trackers(self.log if group.rank() == 0 else (), params=params, say=print, **places) as trackers:
            return train_together(
                processes, spec=spec, source=source, recipe=recipe, seed=seed, folder=folder, report=drawn,
                device=self.device, workers=readers_beside(self.threads), features=features, say=print,
            )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Measures latency on one image: scaling_lab.latency.quick on a device, with a number of CPU threads."""

    device: str = "cpu"
    threads: int = 1

    def __call__(self, specs: list[DetectorSpec]) -> Iterable[Mapping[str, Any]]:
        """Return a row for each spec."""
        from scaling_lab.latency.quick import measure_latency

        return measure_latency(specs, device=self.device, threads=self.threads)


class Stopped(BaseException):
    """Raised by a report to end a trial early. Not an Exception, so that error handlers let it pass."""


class Refused(Stopped):
    """Raised before training where a limit rejects the trial."""


def run_trial(
    objective: Objective,
    *,
    spec: DetectorSpec,
    seed: int,
    folder: Path,
    report: Report,
    before: Callable[[], None] | None = None,
    limit: Callable[[Path], AbstractContextManager[object]] = nullcontext,
    storage: Storage | None = None,
) -> Outcome:
    """Run one trial to its end, within the context that `limit` gives for its folder.

    `before` is called first, and may raise Stopped or Refused. Errors are not raised: the traceback goes to error.txt in
    the trial's folder. The folder is continued from its copy in `storage`, and copied there.
    """
    copies = None if storage is None else TrialCopies(folder, storage)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with limit(folder):
            if before is not None:
                before()
            if copies is not None:
                copies.fetch()
            with nullcontext(_nothing) if copies is None else copies.watched() as copy:
                metrics = objective(spec, seed, folder, _Reports(folder, report, copy))
        if not isinstance(metrics, Mapping):
            raise TypeError(f"the objective returned {type(metrics).__name__}, not a dict of metrics")
        _check_finite(metrics, "at the end")
        return Outcome(state="complete", metrics=metrics, device=device_name())
    except Refused:
        return Outcome(state="refused", device=device_name())
    except Stopped:
        return Outcome(state="stopped", device=device_name())
    except (Exception, SystemExit, TimeUp) as error:
        kind, message = explain(error)
        _write_traceback(folder, error)
        return Outcome(state="failed", kind=kind, message=message, device=device_name())
    finally:
        if copies is not None:
            copies.leave()
        _release_memory()


def explain(error: BaseException) -> tuple[str, str]:
    """Return an error's kind and a one-line message."""
    if isinstance(error, Failure):
        return error.kind, str(error)
    first = str(error).strip().partition("\n")[0]
    if isinstance(error, (LostReader, StorageError)):  # another node may reach the storage
        return "lost_worker", str(error)
    if _is_of_disk(error):
        return DISK_FULL, first
    if isinstance(error, UserError):
        return "bad_input", str(error)
    if isinstance(error, TimeUp):
        return "time_limit", str(error)
    if _is_of_memory(error):
        return "out_of_memory", first or "the machine is out of memory"
    if fault := fault_line(error):
        return DEVICE_FAULT, fault
    return "error", f"{type(error).__name__}: {first}" if first else type(error).__name__


def _is_of_memory(error: BaseException) -> bool:
    """Return whether an error is out-of-memory: of Python, a GPU, or torch's allocator, whose error has no class."""
    # torch.OutOfMemoryError, by name, to avoid importing torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    texts = ("DefaultCPUAllocator: ", "CUDA error: out of memory", "CUDA driver error: out of memory")
    return isinstance(error, RuntimeError) and any(text in str(error) for text in texts)


def _is_of_disk(error: BaseException) -> bool:
    """Return whether a write to disk failed; torch's writer drops the system's error number."""
    if isinstance(error, WriteError):
        return error.is_of_disk
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, RuntimeError) and "PytorchStreamWriter failed writing" in str(error)


class _Reports:
    """Passes on reports and stores them in the folder, to repeat those that a killed driver did not record.

    `copy` is called between the two, so that what is recorded can be continued.
    """

    def __init__(self, folder: Path, report: Report, copy: Callable[[], None]) -> None:
        self._path, self._report, self._copy = folder / "epochs.jsonl", report, copy
        if self._path.exists():
            if (folder / "checkpoint.pt").exists():
                for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
                    self._repeat(line)
            else:
                self._path.unlink()

    def __call__(self, metrics: dict[str, Any]) -> None:
        _check_finite(metrics, f"at epoch {metrics['epoch']}")
        append_line(self._path, json.dumps(metrics))
        self._copy()
        self._report(metrics)

    def _repeat(self, line: str) -> None:
        try:
            metrics = json.loads(line)
        except json.JSONDecodeError:  # truncated by a kill; its epoch is trained again
            return
        if isinstance(metrics, dict) and is_whole(metrics.get("epoch")):  # otherwise the line is damaged
            self._report(metrics)


def _nothing() -> None:
    """Copy nothing."""


def _check_finite(metrics: Mapping[str, Any], when: str) -> None:
    for name, value in metrics.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise Diverged(f"{name} is {value} {when}")


def _write_traceback(folder: Path, error: BaseException) -> None:
    text = "".join(traceback.format_exception(error))
    try:
        (folder / "error.txt").write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError:  # the disk may be full; kind and message still go to the ledger
        return


def _release_memory() -> None:
    """Free GPU memory for the next trial in this process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        with contextlib.suppress(RuntimeError):  # after a fault of the GPU every call may fail
            torch.cuda.empty_cache()


def device_name() -> str:
    """Return the name of the training device: the GPU if torch used one, else the processor."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        with contextlib.suppress(RuntimeError):
            return str(torch.cuda.get_device_name())
        return "a GPU that fails"
    return cpu_name()
