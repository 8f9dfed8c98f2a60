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
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from scaling_lab.errors import UserError
from scaling_lab.machine import free_memory

# The most readers of a training process: more do not help one GPU.
MOST_READERS = 16
# Batches requested ahead from each reader, and the most bytes of a training process for batches, beyond its two first.
AHEAD, MOST_BYTES = 2, 4 << 30
# Forked readers share this process's memory and cached annotations.
_CONTEXT = multiprocessing.get_context("fork")
_ADVICE = "--workers 0 (in a study: cpus_per_trial=1) reads images in the training process"

# Given a batch's number and uint8 memory (images, H, W, 3): fills it and returns the rest of the batch.
Read = Callable[[int, np.ndarray], Any]
# Given a source and the picklable work of a pass: returns what reads its batches. Called in each reader.
Prepare = Callable[[Any, Any], Read]
Shape4 = tuple[int, int, int, int]


class LostReader(UserError):
    """An image reader ended unexpectedly or could not be started. Its read-ahead batches are lost."""


def readers_beside(threads: int) -> int:
    """Return the image readers of a training process with `threads` cores, one of which it needs itself."""
    return min(MOST_READERS, max(0, threads - 1))


def memory_size(shape: Shape4, *, workers: int, batches: int) -> int:
    """Return the bytes of all batches of `shape` in memory: those read ahead, and the one in use."""
    return (_ahead(shape, min(workers, batches)) + 1) * math.prod(shape)


def _ahead(shape: Shape4, workers: int) -> int:
    """Return the number of batches requested ahead."""
    return min(AHEAD * workers, max(1, MOST_BYTES // math.prod(shape) - 1))


def read_ahead(read: Read, batches: int, *, shape: Shape4, workers: int) -> Generator[tuple[np.ndarray, Any]]:
    """Yield the results of `read` for the numbers 0 to `batches` - 1 in order, from readers for this pass alone.

    The errors are those of `Readers.read_ahead`.
    """
    with closing(Readers()) as readers:
        yield from readers.read_ahead(read, _itself, None, batches, shape=shape, workers=workers)


def _itself(read: Read, work: None) -> Read:
    return read


@contextmanager
def readers_kept() -> Iterator[None]:
    """Keep image readers from one pass to the next; end them at the end."""
    global _kept
    if _kept is not None:
        yield
        return
    with closing(Readers()) as _kept:
        try:
            yield
        finally:
            _kept = None


def kept_or_own() -> AbstractContextManager[Readers]:
    """Return the readers that are kept, if no other pass uses them, else readers for one pass."""
    if _kept is None or _kept.is_busy:
        return closing(Readers())
    return nullcontext(_kept)


class Readers:
    """Processes that read batches of one source, started at the first pass and restarted where a pass needs more.

    A pass that is not finished ends them, since their answers are still to come.
    """

    def __init__(self) -> None:
        self.is_busy = False
        self._readers: list[_Reader] = []
        self._memory = mmap.mmap(-1, 1)
        self._reads: tuple[Any, Prepare] | None = None
        self._owner = os.getpid()

    def close(self) -> None:
        """End all readers at once."""
        if os.getpid() == self._owner:  # not in a process forked meanwhile
            for reader in self._readers:
                reader.end()
            self._readers = []
            atexit.unregister(self.close)

    def read_ahead(
        self, source: Any, prepare: Prepare, work: Any, batches: int, *, shape: Shape4, workers: int
    ) -> Generator[tuple[np.ndarray, Any]]:
        """Yield what `prepare(source, work)` reads for the numbers 0 to `batches` - 1 in order: pixels of `shape`, and the rest.

        The pixels are valid until the next batch is requested. Raises a reader's UserError or MemoryError here, and
        MemoryError at the start where memory does not suffice for the batches. Raises LostReader where a reader cannot be
        started or is lost, and RuntimeError with the traceback of any other error.
        """
        if batches == 0:
            return
        ahead = _ahead(shape, min(workers, batches))
        workers = min(workers, batches, ahead)
        self.is_busy = True
        is_whole = False
        try:
            self._start(source, prepare, workers, (ahead + 1) * math.prod(shape), shape)
            memory, readers = _batches_in(self._memory, ahead + 1, shape), self._readers[:workers]
            for reader in readers:
                reader.begin((work, ahead + 1, shape))
            for number in range(min(batches, ahead)):
                readers[number % workers].ask(number, number % len(memory))
            for number in range(batches):
                answer = readers[number % workers].answer()
                later = number + ahead
                if later < batches:  # into the memory of the previous batch, which is free now
                    readers[later % workers].ask(later, later % len(memory))
                yield memory[number % len(memory)], answer
            is_whole = True
        finally:
            self.is_busy = False
            if not is_whole:
                self.close()

    def _start(self, source: Any, prepare: Prepare, workers: int, size: int, shape: Shape4) -> None:
        """Start readers, unless enough of them read this source into enough memory."""
        if (
            self._reads == (source, prepare)
            and len(self._readers) >= workers
            and len(self._memory) >= size
            and all(reader.is_alive for reader in self._readers)
        ):
            return
        self.close()
        atexit.register(self.close)  # an idle reader would block the program's exit
        self._reads, self._memory = (source, prepare), _memory(size, size // math.prod(shape))
        for _ in range(workers):
            others = [reader.pipe for reader in self._readers]
            self._readers.append(_Reader(source, prepare, self._memory, others))


_kept: Readers | None = None


def _memory(size: int, count: int) -> mmap.mmap:
    """Return memory for `count` batches, shared with forked processes; pages are allocated at first write."""
    free = free_memory()
    if size > free:
        raise MemoryError(
            f"{count} read-ahead batches need {size / 1e6:,.0f} MB, but {free / 1e6:,.0f} MB are free; {_ADVICE}"
        )
    return mmap.mmap(-1, size)


def _batches_in(memory: mmap.mmap, count: int, shape: Shape4) -> np.ndarray:
    return np.frombuffer(memory, dtype=np.uint8, count=count * math.prod(shape)).reshape(count, *shape)


class _Reader:
    """The main process's handle of one reader."""

    def __init__(self, source: Any, prepare: Prepare, memory: mmap.mmap, others: list[Connection]) -> None:
        try:
            self.pipe, own = _CONTEXT.Pipe()
            # A pipe ends when no process holds its other end, so readers close those inherited by the fork.
            not_its = [*others, self.pipe]
            self._process = _CONTEXT.Process(target=_serve, args=(source, prepare, memory, own, not_its), daemon=True)
            self._process.start()
            own.close()
        except OSError as error:
            raise LostReader(f"an image reader cannot be started: {error.strerror}; {_ADVICE}") from None

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def begin(self, of_pass: tuple[Any, int, Shape4]) -> None:
        """Begin a pass: its work, and the number and shape of the batches in memory."""
        self._send(of_pass)

    def ask(self, number: int, slot: int) -> None:
        """Request a batch."""
        self._send((number, slot))

    def _send(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # lost: waiting for the answer raises
            self.pipe.send(message)

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


def _serve(source: Any, prepare: Prepare, memory: mmap.mmap, pipe: Connection, others: list[Connection]) -> None:
    """Run the reader's loop until the pipe ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for other in others:
        other.close()
    with contextlib.suppress(EOFError, OSError):  # the main process is gone
        while True:
            message = pipe.recv()
            if len(message) == 3:  # a pass begins
                work, count, shape = message
                slots, read = _batches_in(memory, count, shape), _at_first_use(prepare, source, work)
            else:
                number, slot = message
                pipe.send(_answer(read, number, slots[slot]))


def _at_first_use(prepare: Prepare, source: Any, work: Any) -> Read:
    """Return what reads a pass, prepared at the first batch, whose answer can be an error."""
    prepared: list[Read] = []

    def read(number: int, pixels_BHWC: np.ndarray) -> Any:
        if not prepared:
            prepared.append(prepare(source, work))
        return prepared[0](number, pixels_BHWC)

    return read


def _answer(read: Read, number: int, pixels_BHWC: np.ndarray) -> tuple[str, Any]:
    try:
        return "batch", read(number, pixels_BHWC)
    except UserError as error:
        return "user_error", str(error)
    except MemoryError as error:
        return "memory", str(error) or "out of memory in an image reader"
    except Exception:
        return "error", traceback.format_exc()
