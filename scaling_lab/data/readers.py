"""Processes that read batches ahead: each has its own pipe, and writes pixels into memory shared with the main process.

    this process  -- (number of a batch, slot) -->  a reader  -- pixels into the slot; examples, or an error -->

The memory is anonymous, not in /dev/shm, which is small in containers. A lost reader closes its pipe, so a waiting process
notices at once. A reader ends with its pipe and ignores signals to the process group: Ctrl-C or a scheduler's SIGTERM is
handled by the main process.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import mmap
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Generator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from scaling_lab.errors import UserError
from scaling_lab.machine import free_memory

# Batches requested ahead from each reader.
AHEAD = 2
# Forked readers share this process's memory and cached annotations.
_CONTEXT = multiprocessing.get_context("fork")
_ADVICE = "--workers 0 (in a study: cpus_per_trial=1) reads images in the training process"

# Given a batch's number and uint8 memory (images, H, W, 3): fills it and returns the rest of the batch.
Read = Callable[[int, np.ndarray], Any]


class LostReader(UserError):
    """An image reader ended unexpectedly or could not be started. Its read-ahead batches are lost."""


def memory_size(shape: tuple[int, int, int, int], *, workers: int, batches: int) -> int:
    """Return the bytes of all batches of `shape` in memory: those read ahead, and the one in use."""
    return _slots(min(workers, batches)) * math.prod(shape)


def read_ahead(
    read: Read, batches: int, *, shape: tuple[int, int, int, int], workers: int
) -> Generator[tuple[np.ndarray, Any]]:
    """Yield the results of `read` for the numbers 0 to `batches` - 1 in order: pixels of `shape`, and the rest.

    The pixels are valid until the next batch is requested. Raises a reader's UserError or MemoryError here, and
    MemoryError at the start where memory does not suffice for the batches. Raises LostReader where a reader cannot be
    started or is lost, and RuntimeError with the traceback of any other error.
    """
    readers: list[_Reader] = []
    owner = os.getpid()

    def close() -> None:
        if os.getpid() == owner:  # not in a process forked meanwhile
            for reader in readers:
                reader.end()

    atexit.register(close)  # an idle reader would block the program's exit
    try:
        workers = min(workers, batches)
        memory = _memory(shape, _slots(workers))
        for _ in range(workers):
            readers.append(_Reader(read, memory, [reader.pipe for reader in readers]))
        for number in range(min(batches, AHEAD * workers)):
            readers[number % workers].ask(number, number % len(memory))
        for number in range(batches):
            answer = readers[number % workers].answer()
            later = number + AHEAD * workers
            if later < batches:  # into the memory of the previous batch, which is free now
                readers[later % workers].ask(later, later % len(memory))
            yield memory[number % len(memory)], answer
    finally:
        close()
        atexit.unregister(close)


def _slots(workers: int) -> int:
    return AHEAD * workers + 1


def _memory(shape: tuple[int, int, int, int], count: int) -> np.ndarray:
    """Return memory for `count` batches, shared with forked processes; pages are allocated at first write."""
    size, free = count * math.prod(shape), free_memory()
    if size > free:
        raise MemoryError(
            f"{count} read-ahead batches need {size / 1e6:,.0f} MB, but {free / 1e6:,.0f} MB are free; {_ADVICE}"
        )
    return np.frombuffer(mmap.mmap(-1, size), dtype=np.uint8).reshape(count, *shape)


class _Reader:
    """The main process's handle of one reader."""

    def __init__(self, read: Read, memory: np.ndarray, others: list[Connection]) -> None:
        try:
            self.pipe, own = _CONTEXT.Pipe()
            # A pipe ends when no process holds its other end, so readers close those inherited by the fork.
            not_its = [*others, self.pipe]
            self._process = _CONTEXT.Process(target=_serve, args=(read, memory, own, not_its), daemon=True)
            self._process.start()
            own.close()
        except OSError as error:
            raise LostReader(f"an image reader cannot be started: {error.strerror}; {_ADVICE}") from None

    def ask(self, number: int, slot: int) -> None:
        """Request a batch."""
        with contextlib.suppress(OSError):  # lost: waiting for the answer raises
            self.pipe.send((number, slot))

    def answer(self) -> Any:
        """Wait for the answer to the oldest open request. Raises its error."""
        try:
            kind, answer = self.pipe.recv()
        except (EOFError, OSError):
            raise LostReader(self._why()) from None
        if kind == "user_error":
            raise UserError(answer)
        if kind == "memory":
            raise MemoryError(answer)
        if kind == "error":
            raise RuntimeError(f"an image reader failed:\n{answer}")
        return answer

    def end(self) -> None:
        """End the process at once."""
        self.pipe.close()
        self._process.kill()
        self._process.join()

    def _why(self) -> str:
        self._process.join()
        code = self._process.exitcode or 0
        how = f"exited with {code}"
        if code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            how += ", as the system does when memory runs out"
        return f"an image reader {how}; {_ADVICE}"


def _serve(read: Read, memory: np.ndarray, pipe: Connection, others: list[Connection]) -> None:
    """Run the reader's loop until the pipe ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for other in others:
        other.close()
    with contextlib.suppress(EOFError, OSError):  # the main process is gone
        while True:
            number, slot = pipe.recv()
            pipe.send(_answer(read, number, memory[slot]))


def _answer(read: Read, number: int, pixels_BHWC: np.ndarray) -> tuple[str, Any]:
    try:
        return "batch", read(number, pixels_BHWC)
    except UserError as error:
        return "user_error", str(error)
    except MemoryError as error:
        return "memory", str(error) or "out of memory in an image reader"
    except Exception:
        return "error", traceback.format_exc()
