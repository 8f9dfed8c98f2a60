"""Starts several processes on this machine that train one detector, joins them and propagates their errors.

One process for each GPU or, for a detector too small for several threads, one for each core. group.py has the collective
operations, joining.py the rendezvous.
"""

from __future__ import annotations

import os
import signal
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing

from scaling_lab.data.readers import LostReader
from scaling_lab.errors import UserError
from scaling_lab.training.joining import join
from scaling_lab.training.recipe import Recipe
from scaling_lab.training.train import nothing, train

# Seconds for a worker to exit after its work.
_PATIENCE = 10.0


def train_together(processes: int, *, device: str, **settings: Any) -> dict[str, Any]:
    """Call `train` with these settings in `processes` processes, this one being worker 0.

    On GPUs each takes its own, from cuda:0. Raises UserError for more processes than GPUs or images in a batch, and the
    errors of workers.
    """
    if processes == 1:
        return train(device=device, **settings)
    _check(processes, device, settings["recipe"])
    threads = max(1, torch.get_num_threads() // processes)
    context = torch.multiprocessing.get_context("spawn")
    others = {**settings, "report": nothing, "progress": nothing, "say": nothing}
    with tempfile.TemporaryDirectory() as meeting:
        workers = [
            context.Process(target=_work, args=(rank, processes, threads, meeting, device, others))
            for rank in range(1, processes)
        ]
        for worker in workers:
            worker.start()
        try:
            with _joined(0, processes, threads, meeting, device) as own:
                try:
                    metrics = train(device=own, **settings)
                except UserError:
                    raise
                except Exception as error:
                    _raise_first(Path(meeting), error)
                    raise
            for worker in workers:
                worker.join(_PATIENCE)
        finally:
            for worker in workers:
                worker.terminate()
                worker.join()
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
def _joined(rank: int, processes: int, threads: int, meeting: str, device: str) -> Iterator[str]:
    """Join the group as a worker; yield its device."""
    own = device if device == "cpu" else f"cuda:{rank}"
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    join(rank, processes, meeting=Path(meeting, "store"), device=own)
    try:
        yield own
    finally:
        dist.destroy_process_group()
        torch.set_num_threads(before)


def _work(rank: int, processes: int, threads: int, meeting: str, device: str, settings: dict[str, Any]) -> None:
    """Run a worker other than 0. Its error is written to a file, and it exits with code 1."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # worker 0 ends all workers
    try:
        with _joined(rank, processes, threads, meeting, device) as own:
            train(device=own, **settings)
    except UserError as error:
        kind = "lost" if isinstance(error, LostReader) else "error"
        Path(meeting, f"{kind}-{rank}").write_text(str(error), encoding="utf-8")
        os._exit(1)  # at once, since the others wait
    except BaseException:
        Path(meeting, f"trace-{rank}").write_text(traceback.format_exc(), encoding="utf-8")
        os._exit(1)


def _raise_first(meeting: Path, error: Exception) -> None:
    """Raise the error that a worker wrote, a UserError first.

    Worker 0 has not left the group, so no worker failed because of it: written errors came first.
    """
    for path in sorted(meeting.glob("error-*")):
        raise UserError(path.read_text(encoding="utf-8")) from None
    for path in sorted(meeting.glob("lost-*")):
        raise LostReader(path.read_text(encoding="utf-8")) from None
    for path in sorted(meeting.glob("trace-*")):
        raise RuntimeError(f"worker {path.name.rpartition('-')[2]} failed:\n{path.read_text()}") from error
