"""Processes that read batches ahead of who uses them: each has a pipe of its own, and writes pixels into memory that all share.

    this process  -- (number of a batch, slot) -->  a reader  -- pixels into the slot; examples, or what went wrong -->

The memory is the system's own and not a file in /dev/shm, which is small in containers. The end of a reader is the end of its
pipe: whatever ends it, whoever waits for its batch hears of it at once. A reader ends when its pipe does, and by no signal that
goes to the whole group: Ctrl-C in a terminal, or a scheduler's SIGTERM, is this process's to answer.
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

# So many batches of each reader are asked for before they are needed.
AHEAD = 2
# By fork the readers share this process's memory, and all that it has read.
_CONTEXT = multiprocessing.get_context("fork")
_ADVICE = "--workers 0 (in a study: cpus_per_trial=1) reads in the training process itself"

# Given the number of a batch and uint8 memory (as many images as are wanted, H, W, 3): fills it, gives the rest of the batch.
Read = Callable[[int, np.ndarray], Any]


class LostReader(UserError):
    """A process that reads images has ended, or could not be started. What was read before it is lost with it."""


def memory_size(shape: tuple[int, int, int, int], *, workers: int, batches: int) -> int:
    """Give the bytes of the batches of `shape` that are in memory together: those read ahead, and the one in use."""
    return _slots(min(workers, batches)) * math.prod(shape)


def read_ahead(
    read: Read, batches: int, *, shape: tuple[int, int, int, int], workers: int
) -> Generator[tuple[np.ndarray, Any]]:
    """Yield what `read` makes of the numbers 0 to `batches` - 1, in this order: pixels of `shape`, and the rest.

    The pixels are to be used before the next batch is asked for. A UserError or MemoryError of a reader is raised here, and
    MemoryError before anything is read where there is no room for the batches. Raises LostReader where a reader cannot be
    started or is lost, and RuntimeError with the traceback of any other error.
    """
    readers: list[_Reader] = []
    owner = os.getpid()

    def close() -> None:
        if os.getpid() == owner:  # and no process that was forked meanwhile
            for reader in readers:
                reader.end()

    atexit.register(close)  # who is left without a question would be waited for when the program ends
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
            if later < batches:  # into the memory of the batch before this one, which is no more in use
                readers[later % workers].ask(later, later % len(memory))
            yield memory[number % len(memory)], answer
    finally:
        close()
        atexit.unregister(close)


def _slots(workers: int) -> int:
    return AHEAD * workers + 1


def _memory(shape: tuple[int, int, int, int], count: int) -> np.ndarray:
    """Give memory for `count` batches that forked processes share; the system takes a page when it is first written to."""
    size, free = count * math.prod(shape), free_memory()
    if size > free:
        raise MemoryError(
            f"{count} batches that are read ahead take {size / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free; {_ADVICE}"
        )
    return np.frombuffer(mmap.mmap(-1, size), dtype=np.uint8).reshape(count, *shape)


class _Reader:
    """One process, as the one that uses it sees it."""

    def __init__(self, read: Read, memory: np.ndarray, others: list[Connection]) -> None:
        try:
            self.pipe, own = _CONTEXT.Pipe()
            # A pipe ends when nobody holds its other end: a reader keeps none of those that it got by the fork.
            not_its = [*others, self.pipe]
            self._process = _CONTEXT.Process(target=_serve, args=(read, memory, own, not_its), daemon=True)
            self._process.start()
            own.close()
        except OSError as error:
            raise LostReader(f"a process that reads images cannot be started: {error.strerror}; {_ADVICE}") from None

    def ask(self, number: int, slot: int) -> None:
        """Ask for a batch."""
        with contextlib.suppress(OSError):  # lost: whoever waits for the answer hears of it
            self.pipe.send((number, slot))

    def answer(self) -> Any:
        """Wait for the answer to the first question that has none yet."""
        try:
            kind, answer = self.pipe.recv()
        except (EOFError, OSError):
            raise LostReader(self._why()) from None
        if kind == "user_error":
            raise UserError(answer)
        if kind == "memory":
            raise MemoryError(answer)
        if kind == "error":
            raise RuntimeError(f"a process that reads images has failed:\n{answer}")
        return answer

    def end(self) -> None:
        """End the process at once: it has nothing to lose."""
        self.pipe.close()
        self._process.kill()
        self._process.join()

    def _why(self) -> str:
        self._process.join()
        code = self._process.exitcode or 0
        how = f"has exited with {code}"
        if code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            how += ", as the system does where memory runs out"
        return f"a process that reads images {how}; {_ADVICE}"


def _serve(read: Read, memory: np.ndarray, pipe: Connection, others: list[Connection]) -> None:
    """Be a reader until the pipe ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for other in others:
        other.close()
    with contextlib.suppress(EOFError, OSError):  # nobody reads any more
        while True:
            number, slot = pipe.recv()
            pipe.send(_answer(read, number, memory[slot]))


def _answer(read: Read, number: int, pixels_BHWC: np.ndarray) -> tuple[str, Any]:
    try:
        return "batch", read(number, pixels_BHWC)
    except UserError as error:
        return "user_error", str(error)
    except MemoryError as error:
        return "memory", str(error) or "memory does not suffice to read images"
    except Exception:
        return "error", traceback.format_exc()
