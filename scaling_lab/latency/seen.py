"""The measurements of a detector: blocks of runs between two anchor runs, and which are valid.

The script of `measure --export` contains this module, so it imports `timing` alone.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scaling_lab.latency.timing import DRIFT, summary

if TYPE_CHECKING:
    from scaling_lab.latency.rules import Protocol


@dataclass(frozen=True)
class Block:
    """Consecutive runs of a detector, and the anchor's medians before and after them."""

    process: int
    before: float
    after: float
    times: list[float]

    def off(self, reference: float) -> float:
        """Return the larger relative deviation of the two anchors."""
        return max(abs(self.before / reference - 1), abs(self.after / reference - 1))

    def counts(self, reference: float, protocol: Protocol) -> bool:
        """Return whether these runs are valid, given the anchor's reference time."""
        if protocol.correct:
            return abs(self.before / self.after - 1) <= DRIFT
        return protocol.anyway or self.off(reference) <= DRIFT

    def corrected(self, reference: float, protocol: Protocol) -> list[float]:
        """Return the times, divided by the anchor's relative slowness if the protocol corrects."""
        slower = (self.before + self.after) / 2 / reference if protocol.correct else 1.0
        return [each / slower for each in self.times]


@dataclass
class Seen:
    """The measurements of one detector."""

    blocks: list[Block] = field(default_factory=list)
    profiles: list[list[float]] = field(default_factory=list)
    memory: float | None = None

    def counted(self, reference: float, protocol: Protocol) -> dict[int, list[float]]:
        """Return the valid runs by process."""
        found: dict[int, list[float]] = {}
        for each in self.blocks:
            if each.counts(reference, protocol):
                found.setdefault(each.process, []).extend(each.corrected(reference, protocol))
        return found

    def is_enough(self, reference: float, protocol: Protocol) -> bool:
        """Return whether there are enough valid runs in enough processes."""
        runs = self.counted(reference, protocol)
        return len(runs) >= protocol.processes and sum(map(len, runs.values())) >= protocol.runs

    def row(self, reference: float, protocol: Protocol) -> dict[str, Any]:
        """Return the statistics of the valid runs, as `latencies` has them."""
        runs = self.counted(reference, protocol)
        times = [each for process in runs.values() for each in process]
        medians = [statistics.median(process) for process in runs.values()]
        return {
            **summary(times),
            "processes": len(runs),
            "process_spread": (max(medians) - min(medians)) / statistics.median(times),
            "halves_ms": self.halves(reference, protocol),
            "anchor_ms": reference,
            "anchor_drift": self.drift(reference, protocol),
            "peak_memory_mb": self.memory,
        }

    def halves(self, reference: float, protocol: Protocol) -> list[float]:
        """Return the medians of even and of odd valid blocks."""
        kept = [each.corrected(reference, protocol) for each in self.blocks if each.counts(reference, protocol)]
        halves = ([time for block in kept[start::2] for time in block] for start in (0, 1))
        return [statistics.median(half) for half in halves if half]

    def drift(self, reference: float, protocol: Protocol) -> float:
        """Return the largest relative deviation of anchors around valid runs."""
        return max(each.off(reference) for each in self.blocks if each.counts(reference, protocol))
