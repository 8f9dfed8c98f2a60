"""One trial where it runs: call the objective, pass its reports on, and make an outcome of however it ends.

It raises nothing, writes into the trial's folder alone, and knows no ledger, no Optuna and no ray.
"""

from __future__ import annotations

import errno
import gc
import json
import math
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.checks import is_whole
from scaling_lab.data.readers import LostReader
from scaling_lab.errors import UserError
from scaling_lab.files import WriteError, append_line
from scaling_lab.machine import cpu_name
from scaling_lab.study.run.time_limit import TimeUp
from scaling_lab.training.failures import Diverged, Failure
from scaling_lab.training.recipe import Recipe

Report = Callable[[dict[str, Any]], None]

# No trial's fault, and every further one would fail so: it ends the session, and the trial is to go on.
DISK_FULL = "disk_full"

# A trial that has lost its worker, or a process that reads its images, is started again so many times by itself.
LOST_WORKER_RETRIES = 2

# Given (spec, seed, the trial's folder, report): reports each epoch as a dict with "epoch" from 1, and gives the final
# metrics. A folder with a checkpoint.pt is to be continued from it. On Ray, where a trial takes several workers, it is called
# in each, in a torch.distributed group, and worker 0 alone is to report and to write.
Objective = Callable[[DetectorSpec, int, Path, Report], Mapping[str, Any]]


# Given specs: gives a row of the ledger's `latencies` for each.
MeasureLatency = Callable[[list[DetectorSpec]], Iterable[Mapping[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended. `state` is complete, stopped, failed, or refused by a limit before it trained.

    A failure has one of the ledger's kinds, or DISK_FULL.
    """

    state: str
    metrics: Mapping[str, Any] = field(default_factory=dict)
    kind: str | None = None
    message: str | None = None
    device: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Training:
    """The objective that trains: scaling_lab.training.train on a data source and a recipe, both as plain values.

    It takes `workers`, each with so many `threads`: it starts them on this machine, unless it is called in each of them.
    """

    data: dict[str, Any]
    recipe: dict[str, Any]
    device: str
    threads: int
    workers: int = 1

    def __call__(self, spec: DetectorSpec, seed: int, folder: Path, report: Report) -> Mapping[str, Any]:
        """Train one detector."""
        import torch

        from scaling_lab.data import source_from_dict
        from scaling_lab.training import group
        from scaling_lab.training.curves import Curves
        from scaling_lab.training.together import train_together

        def drawn(metrics: dict[str, Any]) -> None:
            curves.write(metrics)
            report(metrics)

        processes = 1 if group.size() > 1 else self.workers
        torch.set_num_threads(self.threads * processes)
        curves = Curves(folder)
        return train_together(
            processes, spec=spec, source=source_from_dict(self.data), recipe=Recipe.from_dict(self.recipe), seed=seed,
            folder=folder, report=drawn, device=self.device, workers=self.threads - 1,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Times detectors on one image: scaling_lab.latency.quick on a device, with a CPU's threads."""

    device: str = "cpu"
    threads: int = 1

    def __call__(self, specs: list[DetectorSpec]) -> Iterable[Mapping[str, Any]]:
        """Give a row for each."""
        from scaling_lab.latency.quick import measure_latency

        return measure_latency(specs, device=self.device, threads=self.threads)


class Stopped(BaseException):
    """Raised out of a report to end a trial early. It is no error, so that what handles errors lets it pass."""


class Refused(Stopped):
    """Raised before a trial trains, where a limit refuses it."""


def run_trial(
    objective: Objective,
    *,
    spec: DetectorSpec,
    seed: int,
    folder: Path,
    report: Report,
    before: Callable[[], None] | None = None,
    limit: Callable[[Path], AbstractContextManager[object]] = nullcontext,
) -> Outcome:
    """Run one trial to its end, within what `limit` gives for its folder.

    `before` is called first, and may raise Stopped or Refused.

    An error is not raised; its traceback goes to error.txt in the trial's folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with limit(folder):
            if before is not None:
                before()
            metrics = objective(spec, seed, folder, _Reports(folder, report))
        if not isinstance(metrics, Mapping):
            raise TypeError(f"the objective gave {type(metrics).__name__}, not a dict of metrics")
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
        _release_memory()


def explain(error: BaseException) -> tuple[str, str]:
    """Give an error's kind and one line about it."""
    if isinstance(error, Failure):
        return error.kind, str(error)
    first = str(error).strip().partition("\n")[0]
    if isinstance(error, LostReader):
        return "lost_worker", str(error)
    if _is_of_disk(error):
        return DISK_FULL, first
    if isinstance(error, UserError):
        return "bad_input", str(error)
    if isinstance(error, TimeUp):
        return "time_limit", str(error)
    if _is_of_memory(error):
        return "out_of_memory", first or "the machine's memory does not suffice"
    return "error", f"{type(error).__name__}: {first}" if first else type(error).__name__


def _is_of_memory(error: BaseException) -> bool:
    """Say whether memory did not suffice: Python's, a GPU's, or what torch asked of the system, which has no class."""
    # torch.OutOfMemoryError, by name: torch is not imported for this.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator: " in str(error)


def _is_of_disk(error: BaseException) -> bool:
    """Say whether a disk could not take what was written; torch's writer keeps no number of the system's error."""
    if isinstance(error, WriteError):
        return error.is_of_disk
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, RuntimeError) and "PytorchStreamWriter failed writing" in str(error)


class _Reports:
    """Pass reports on, and keep them in the folder: what a killed driver did not write down is told again."""

    def __init__(self, folder: Path, report: Report) -> None:
        self._path, self._report = folder / "epochs.jsonl", report
        if self._path.exists():
            if (folder / "checkpoint.pt").exists():
                for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
                    self._repeat(line)
            else:
                self._path.unlink()

    def __call__(self, metrics: dict[str, Any]) -> None:
        _check_finite(metrics, f"at epoch {metrics['epoch']}")
        append_line(self._path, json.dumps(metrics))
        self._report(metrics)

    def _repeat(self, line: str) -> None:
        try:
            metrics = json.loads(line)
        except json.JSONDecodeError:  # cut short by the kill; its epoch is trained again or was not the last
            return
        if isinstance(metrics, dict) and is_whole(metrics.get("epoch")):  # any other line was damaged
            self._report(metrics)


def _check_finite(metrics: Mapping[str, Any], when: str) -> None:
    for name, value in metrics.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise Diverged(f"{name} is {value} {when}")


def _write_traceback(folder: Path, error: BaseException) -> None:
    text = "".join(traceback.format_exception(error))
    try:
        (folder / "error.txt").write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError:  # a full disk may be what failed the trial; its kind and message go to the ledger all the same
        return


def _release_memory() -> None:
    """The next trial may run in this process: leave it the whole GPU."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def device_name() -> str:
    """Name the device that trained: the GPU where torch has used one, else the processor."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return str(torch.cuda.get_device_name())
    return cpu_name()
