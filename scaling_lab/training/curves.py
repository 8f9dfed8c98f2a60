"""Writes steps and epochs as TensorBoard scalars to a file next to the checkpoint.

tensorboardX's SummaryWriter writes in a thread that hides errors, such as a full disk; here they are raised.
"""

from __future__ import annotations

import platform
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboardX.record_writer import masked_crc32c  # type: ignore[import-untyped]
from tensorboardX.summary import scalar  # type: ignore[import-untyped]

from scaling_lab.files import append
from scaling_lab.training.evaluation import SUMMARY

_SECONDS = 10.0  # the longest delay before a step's values are written
# The groups of tags; numbers of no group are of "train".
_GROUPS = {
    **dict.fromkeys((*SUMMARY, "best_ap", "best_epoch"), "val"),
    **dict.fromkeys(("seconds", "images_per_second", "waiting", "gpu_memory_mb"), "speed"),
}


def scalars(
    metrics: Mapping[str, Any], *, without: tuple[str, ...] = ("epoch", "epochs")
) -> Iterator[tuple[str, float]]:
    """Yield the tag and value of each number in an epoch's metrics, and of each class's AP."""
    for name, value in metrics.items():
        if name not in without and isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{_GROUPS.get(name, 'train')}/{name}", float(value)
    for name, value in metrics.get("ap_by_class", {}).items():
        if value is not None:
            yield f"ap_by_class/{name}", float(value)


class Events:
    """Writes scalars into a new TensorBoard file of a folder, which `tensorboard --logdir` finds.

    Values of an earlier session from `step` on are replaced. Raises WriteError.
    """

    def __init__(self, folder: Path, step: int) -> None:
        # The step in the name keeps files of the same second apart.
        name = f"events.out.tfevents.{time.time():.0f}.{platform.node()}.{step}"
        self._path, self._written = folder / name, time.monotonic()
        self._waiting: list[bytes] = []
        self._add(0, file_version="brain.Event:2")
        self._add(step, session_log=SessionLog(status=SessionLog.START))

    def add(self, step: int, values: Iterable[tuple[str, float]]) -> None:
        """Add the values of a step; they are written at the next `flush` or after some seconds."""
        for name, value in values:
            self._add(step, summary=scalar(name, value))
        if time.monotonic() - self._written > _SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write pending values. Raises WriteError."""
        content, self._waiting, self._written = b"".join(self._waiting), [], time.monotonic()
        append(self._path, content)

    def _add(self, step: int, **values: Any) -> None:
        content = Event(wall_time=time.time(), step=step, **values).SerializeToString()
        size = struct.pack("<Q", len(content))
        self._waiting += [size, _checksum(size), content, _checksum(content)]


class Curves:
    """Writes epochs into a folder's TensorBoard file, with the epoch as the step.

    An epoch that an earlier session wrote, and all later ones, are replaced.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._events: Events | None = None

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Write one epoch. Raises WriteError."""
        if self._events is None:
            self._events = Events(self._folder, metrics["epoch"])
        self._events.add(metrics["epoch"], scalars(metrics))
        self._events.flush()


def _checksum(content: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(content))
