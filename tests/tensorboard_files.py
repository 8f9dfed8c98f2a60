"""Reading TensorBoard's files. It holds no tests."""

from __future__ import annotations

import struct
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]


def scalars_in(folder: str | Path) -> dict[str, dict[int, float]]:
    """Read a folder's files as TensorBoard does: what was drawn under each name, by step; a restart drops later steps."""
    found: dict[str, dict[int, float]] = {}
    for path in sorted(Path(folder).glob("events.out.tfevents.*")):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack("<Q", data[place : place + 8])
            event = Event.FromString(data[place + 12 : place + 12 + length])
            place += 16 + length
            if event.session_log.status == SessionLog.START:
                found = {tag: {step: y for step, y in line.items() if step < event.step} for tag, line in found.items()}
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found
