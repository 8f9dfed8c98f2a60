"""Where trials run, and the devices and nodes that are left out of a run after faults of hardware."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

# A device, as its node and GPU; a whole node, or one without GPUs, has no GPU.
Device = tuple[str, str]

# Left out after so many faults within so many seconds, unless all are of one trial, which may cause them itself.
DEVICE_FAULTS, NODE_FAULTS, SECONDS = 3, 6, 600.0


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a worker runs: its node's id and name, and the GPUs that it has there."""

    node: str
    name: str
    gpus: tuple[str, ...] = ()

    @property
    def device(self) -> Device:
        """The device that trains: the first GPU, or the node."""
        return self.node, self.gpus[0] if self.gpus else ""

    @property
    def words(self) -> str:
        """The device as text, such as "GPU 0 of 10.0.0.5"."""
        return f"GPU {self.gpus[0]} of {self.name}" if self.gpus else self.name

    def is_left_out(self, left_out: Iterable[Device]) -> bool:
        """Return whether its node or device is among those left out."""
        return not {self.device, (self.node, "")}.isdisjoint(left_out)


class Faults:
    """Faults of hardware by device and node. `left_out` are those that get no further trials in this session."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.left_out: set[Device] = set()
        self._clock = clock
        self._seen: dict[Device, deque[tuple[float, int]]] = defaultdict(deque)

    def note(self, trial: int, places: Collection[Place]) -> list[str]:
        """Record that a trial met a fault at one of these places. Return a message for each that is left out from now on."""
        names = {place.node: place.name for place in places}
        # A node counts once, however many of the trial's workers it has.
        limits = {(node, ""): NODE_FAULTS for node in names} | {place.device: DEVICE_FAULTS for place in places}
        return [
            f"{f'GPU {gpu} of ' if gpu else ''}{names[node]} is left out of this run: "
            f"{len(self._seen[node, gpu])} faults within {SECONDS / 60:g} minutes"
            for (node, gpu), most in limits.items()
            if self._is_too_many(trial, (node, gpu), most)
        ]

    def _is_too_many(self, trial: int, device: Device, most: int) -> bool:
        """Count a fault. Return whether the device is left out because of it."""
        now, seen = self._clock(), self._seen[device]
        seen.append((now, trial))
        while seen[0][0] < now - SECONDS:
            seen.popleft()
        if device in self.left_out or len(seen) < most or len({each for _, each in seen}) == 1:
            return False
        self.left_out.add(device)
        return True
