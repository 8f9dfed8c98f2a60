"""Epochs as TensorBoard's scalars: their names, and a file of them that a trial writes beside its checkpoint. It draws nothing.

tensorboardX's SummaryWriter writes in a thread, whose errors, such as a full disk, reach nobody; here they are raised.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tensorboardX.event_file_writer import EventsWriter  # type: ignore[import-untyped]
from tensorboardX.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboardX.summary import scalar  # type: ignore[import-untyped]

from scaling_lab.training.evaluation import SUMMARY

_SPEED = ("seconds", "images_per_second", "waiting")


def scalars(
    metrics: Mapping[str, Any], *, without: tuple[str, ...] = ("epoch", "epochs")
) -> Iterator[tuple[str, float]]:
    """Give the name and value of each number that an epoch's metrics hold, and of each class's AP."""
    for name, value in metrics.items():
        if name not in without and isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{'val' if name in SUMMARY else 'speed' if name in _SPEED else 'train'}/{name}", float(value)
    for name, value in metrics.get("ap_by_class", {}).items():
        if value is not None:
            yield f"ap_by_class/{name}", float(value)


class Curves:
    """Write epochs into a folder's TensorBoard file, the epoch as the step; `tensorboard --logdir` finds it.

    An epoch that an earlier session has written, and all after it, are replaced.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Write one epoch."""
        step = metrics["epoch"]
        if self._writer is None:
            # Without the epoch in its name, a file would replace one of the same second.
            self._writer = EventsWriter(str(self._folder / "events"), filename_suffix=f".{step}")
            self._add(step, session_log=SessionLog(status=SessionLog.START))
        for name, value in scalars(metrics):
            self._add(step, summary=scalar(name, value))
        self._writer.flush()

    def _add(self, step: int, **values: Any) -> None:
        self._writer.write_event(Event(wall_time=time.time(), step=step, **values))
