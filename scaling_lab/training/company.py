"""Other processes that train the same detector meanwhile, as trials that share a GPU do, while a plan measures one."""

from __future__ import annotations

import itertools
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing

from scaling_lab.data.readers import readers_kept
from scaling_lab.training import out_of_memory
from scaling_lab.training.failures import OutOfMemory
from scaling_lab.training.train import Run

_READY = "ready"
# Seconds for a process to end after its step.
_PATIENCE = 10.0


@contextmanager
def company(count: int, *, threads: int, **settings: Any) -> Iterator[None]:
    """Train in `count` processes, each with these `settings` of Run and `threads` threads, from their first step on.

    Raises OutOfMemory where one does not fit the device beside the others, and RuntimeError with its traceback where it
    fails otherwise.
    """
    context = torch.multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pipes = [stack.enter_context(_started(context, threads, settings)) for _ in range(count)]
        for pipe in pipes:
            try:
                kind, message = pipe.recv()
            except EOFError:
                kind, message = "error", "it was killed"
            if kind == "memory":
                raise OutOfMemory(f"with {count + 1} trials on it, {message}")
            if kind != _READY:
                raise RuntimeError(f"one of {count + 1} trials at once failed:\n{message}")
        yield


@contextmanager
def _started(context: Any, threads: int, settings: dict[str, Any]) -> Iterator[Connection]:
    """Start a process; yield its pipe, and end it with the pipe."""
    own, its = context.Pipe()
    process = context.Process(target=_keep_training, args=(its, threads, settings), daemon=False)
    process.start()
    its.close()
    try:
        yield own
    finally:
        own.close()
        process.join(_PATIENCE)
        process.kill()
        process.join()


def _keep_training(pipe: Connection, threads: int, settings: dict[str, Any]) -> None:
    """Take steps until the pipe ends, and say when the first is done."""
    torch.set_num_threads(threads)
    try:
        with tempfile.TemporaryDirectory() as folder, readers_kept():
            run = Run(**settings, folder=Path(folder))
            run.epoch = 1
            run.set_stage(1)
            loader = run.batches("train", 1)
            for step, batch in enumerate(itertools.chain.from_iterable(itertools.repeat(loader))):
                run.step(batch, 0.0)
                if step == 0:
                    pipe.send((_READY, ""))
                if pipe.poll():
                    return
    except torch.OutOfMemoryError as error:
        message = out_of_memory.too_little(error, run.device, run.part_size, run.spec.image_size)
        pipe.send(("memory", message))
    except BrokenPipeError:  # the plan's process is gone
        return
    except Exception:
        pipe.send(("error", traceback.format_exc()))
