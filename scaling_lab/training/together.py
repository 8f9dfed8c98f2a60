"""Starts several processes on this machine that train one detector, and supervises them.

    this process  <-  report, progress, say, result, error  -  process 0, 1, ...: train(...)

One process for each GPU or, for a detector too small for several threads, one for each core. This process trains nothing, so
it notices at once which process fails first, and why. group.py has the collective operations, joining.py the rendezvous.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes

from scaling_lab.errors import UserError
from scaling_lab.signals import undisturbed
from scaling_lab.training.failures import LostProcess
from scaling_lab.training.joining import Launched, join, join_launched
from scaling_lab.training.recipe import Recipe
from scaling_lab.training.train import nothing, train

# Seconds: between two looks at the processes; that one may be suspended; for a checkpoint after Ctrl-C; for a process to exit
# after its work; for a killed process to be seen as such, after the errors of the others that it causes.
_LOOK, _SUSPENDED, _GRACE, _EXIT, _CAUSE = 1.0, 10.0, 25.0, 10.0, 1.0
_PR_SET_PDEATHSIG = 1

Hear = Callable[[Any], object]


def train_together(
    processes: int,
    *,
    device: str,
    report: Hear = nothing,
    progress: Hear = nothing,
    say: Hear = nothing,
    **settings: Any,
) -> dict[str, Any]:
    """Call `train` with these settings in `processes` processes; `report`, `progress` and `say` are called in this one.

    On GPUs each process takes its own, from cuda:0. Raises UserError for more processes than GPUs or images in a batch. Raises
    the first error of a process, and LostProcess for one that was killed or suspended. All processes have ended then. After
    Ctrl-C they write a checkpoint first.
    """
    hear: dict[str, Any] = {"report": report, "progress": progress, "say": say}
    if processes == 1:
        return train(device=device, **hear, **settings)
    _check(processes, device, settings["recipe"])
    with (
        tempfile.TemporaryDirectory() as meeting,
        _started(processes, Path(meeting, "store"), device, settings) as crew,
    ):
        try:
            return crew.follow(hear)
        except KeyboardInterrupt:
            crew.ask_to_end(progress)
            raise


def train_launched(place: Launched, *, device: str, **settings: Any) -> dict[str, Any]:
    """Call `train` with these settings as one of the processes that torchrun has started, which supervises them."""
    join_launched(place, device)
    metrics = train(device=device, **settings)
    dist.destroy_process_group()
    return metrics


def _check(processes: int, device: str, recipe: Recipe) -> None:
    if recipe.batch_size < processes:
        raise UserError(
            f"recipe.batch_size is {recipe.batch_size}; allowed is at least one image for each of {processes} processes"
        )
    if device != "cpu" and (device != "cuda" or processes > torch.cuda.device_count()):
        raise UserError(
            f"{processes} processes on device {device!r}; allowed are 'cpu', and 'cuda' with up to "
            f"{torch.cuda.device_count()} processes, one for each GPU"
        )


@contextmanager
def _started(processes: int, meeting: Path, device: str, settings: Mapping[str, Any]) -> Iterator[_Crew]:
    """Start the processes; at the end none is left."""
    threads = max(1, torch.get_num_threads() // processes)
    pipes = [Pipe() for _ in range(processes)]
    own, theirs = [one for one, _ in pipes], [other for _, other in pipes]
    arguments = (os.getpid(), processes, threads, meeting, device, theirs, settings)
    started: list[Any] = []
    try:
        context = start_processes(  # type: ignore[no-untyped-call]
            _work, arguments, nprocs=processes, join=False, start_method="spawn"
        )
        started += context.processes
        for pipe in theirs:
            pipe.close()
        yield _Crew(started, own)
    finally:
        with undisturbed():
            for process in started:
                process.kill()
            for process in started:
                process.join()
            for pipe in own:
                pipe.close()


class _Crew:
    """The running processes, by rank, with a pipe to each."""

    def __init__(self, processes: list[Any], pipes: list[Connection]) -> None:
        self._processes, self._open = processes, list(pipes)
        self._suspended: dict[int, float] = {}  # since when

    def follow(self, hear: Mapping[str, Hear]) -> dict[str, Any]:
        """Pass on what the processes say until all have ended, and return worker 0's result. Raises the first error."""
        result: dict[str, Any] | None = None
        running, end = dict(enumerate(self._processes)), float("inf")
        while running and time.monotonic() < end:
            ended = [rank for rank, process in running.items() if not process.is_alive()]
            for kind, value, pipe in self._heard():
                if kind == "error":
                    raise self._first([value])
                if kind == "result":
                    result, end = value, time.monotonic() + _EXIT
                else:
                    hear[kind](value)
                    if kind == "report":
                        with contextlib.suppress(OSError):  # it may have ended meanwhile
                            pipe.send(None)  # it may go on
            for rank in ended:
                if running.pop(rank).exitcode != 0:
                    raise self._first([])
            self._check_suspended()
            wait([*self._open, *(process.sentinel for process in running.values())], timeout=_LOOK)
        if result is None:
            raise LostProcess("the training processes ended without a result")
        return result

    def ask_to_end(self, progress: Hear) -> None:
        """Let the processes write a checkpoint, and wait for them for a while."""
        for process in self._processes:
            process.terminate()
        end = time.monotonic() + _GRACE
        while (left := end - time.monotonic()) > 0 and any(process.is_alive() for process in self._processes):
            for kind, value, _ in self._heard():  # a process may wait for room in its pipe
                if kind == "progress":
                    progress(value)
            wait([*self._open, *(process.sentinel for process in self._processes if process.is_alive())], timeout=left)

    def _heard(self) -> Iterator[tuple[str, Any, Connection]]:
        """Yield what the processes have said since the last call, with its pipe."""
        for pipe in list(self._open):
            try:
                while pipe.poll():
                    yield *pipe.recv(), pipe
            except (EOFError, OSError):
                self._open.remove(pipe)

    def _first(self, errors: list[tuple[float, Exception]]) -> Exception:
        """Return the error that has caused the others: a killed process, else the first error that was sent."""
        errors = errors + [value for kind, value, _ in self._heard() if kind == "error"]
        first = min(errors, key=lambda each: each[0])[1] if errors else None
        if isinstance(first, UserError):
            return first
        end = time.monotonic() + _CAUSE
        while (left := end - time.monotonic()) > 0:
            running = [process.sentinel for process in self._processes if process.exitcode is None]
            if self._killed() or not running:
                break
            wait(running, timeout=left)
        # A failing collective may abort a process, too.
        killed = [each for each in self._killed() if first is None or each[1] != signal.SIGABRT]
        if killed:
            return LostProcess(_by_signal(*killed[0]))
        codes = ((rank, process.exitcode) for rank, process in enumerate(self._processes) if process.exitcode)
        return first or LostProcess(_by_exit(*next(codes)))

    def _killed(self) -> list[tuple[int, int]]:
        """Return the ranks of processes that signals have ended, and the signals."""
        ended = [(rank, process.exitcode) for rank, process in enumerate(self._processes)]
        return [(rank, -code) for rank, code in ended if code is not None and code < 0]

    def _check_suspended(self) -> None:
        """Raise LostProcess for a process that was suspended, as by SIGSTOP, while this one runs."""
        now = time.monotonic()
        found = {rank for rank, process in enumerate(self._processes) if _is_suspended(process.pid)}
        self._suspended = {rank: self._suspended.get(rank, now) for rank in found}
        for rank, since in self._suspended.items():
            if now - since > _SUSPENDED:
                raise LostProcess(
                    f"training process {rank} (pid {self._processes[rank].pid}) has been suspended for {_SUSPENDED:.0f} s"
                )


def _by_signal(rank: int, number: int) -> str:
    advice = ", as the system does when memory runs out" if number == signal.SIGKILL else ""
    return f"training process {rank} was ended by {signal.Signals(number).name}{advice}"


def _by_exit(rank: int, code: int) -> str:
    """Return how a process exited: with a code, or with 128 and the signal that it answered."""
    answered = code - 128
    return (
        _by_signal(rank, answered)
        if answered in signal.valid_signals()
        else f"training process {rank} exited with {code}"
    )


def _is_suspended(pid: int) -> bool:
    """Return whether a process is stopped by a signal; False on systems without /proc."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "T"
    return False


def _work(
    rank: int,
    parent: int,
    processes: int,
    threads: int,
    meeting: Path,
    device: str,
    pipes: list[Connection],
    settings: dict[str, Any],
) -> None:
    """Run one process. Its error goes to the parent, then it ends at once, since the others wait for it."""
    # The parent answers Ctrl-C, and asks for the end by SIGTERM.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    _end_with(parent)
    for place, other in enumerate(pipes):
        if place != rank:
            other.close()
    pipe = pipes[rank]
    try:
        torch.set_num_threads(threads)
        own = device if device == "cpu" else f"cuda:{rank}"
        join(rank, processes, meeting=meeting, device=own)
        result = train(device=own, **_heard_by(pipe), **settings)
        dist.destroy_process_group()
        if rank == 0:
            pipe.send(("result", result))
    except KeyboardInterrupt:
        os._exit(128 + signal.SIGTERM)
    except Exception as error:
        _send(pipe, error, rank)
        os._exit(1)


def _end_with(parent: int) -> None:
    """Let the system kill this process when its parent ends, however that happens. torch's own SIGINT may be too little."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


def _heard_by(pipe: Connection) -> dict[str, Any]:
    """Return the functions that tell the parent."""

    def report(metrics: dict[str, Any]) -> None:
        pipe.send(("report", metrics))
        pipe.recv()  # the parent may end the training run instead

    return {
        "report": report,
        "progress": lambda step: pipe.send(("progress", step)),
        "say": lambda text: pipe.send(("say", text)),
    }


def _send(pipe: Connection, error: Exception, rank: int) -> None:
    """Send an error to the parent, with its traceback as a note."""
    now, text = time.monotonic(), "".join(traceback.format_exception(error))
    try:
        copy.copy(error)  # fails for an error that cannot be made from its arguments
        error.add_note(f"in training process {rank}:\n{text}")
        pipe.send(("error", (now, error)))
    except Exception:
        pipe.send(("error", (now, RuntimeError(f"{type(error).__name__}: {error}\n{text}"))))
