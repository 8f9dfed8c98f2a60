"""The full latency protocol: several processes, interleaved detectors, an anchor between them, and an idle device.

Every detector runs at least 200 times in at least three processes, after a warm-up that has settled. Runs between two
anchor runs within 3 % of the anchor's median are valid; others are repeated. If too few are valid, the result is an error.
On a machine whose speed drifts within minutes, times may be corrected instead: divided by the relative slowness of the
neighbouring anchors. Rows state the method.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.cost import Cost, count
from scaling_lab.errors import UserError
from scaling_lab.latency.conditions import Conditions
from scaling_lab.latency.device import device_name, free_memory, versions
from scaling_lab.latency.quiet import refuse_absent, refuse_busy
from scaling_lab.latency.rules import Protocol, UnsteadyDevice
from scaling_lab.latency.seen import Block, Seen
from scaling_lab.latency.timing import BLOCK, DRIFT, MOST_PROCESSES, WARM_UP
from scaling_lab.latency.worker_process import Progress, Say, run_worker

BYTES = {"float32": 4, "bf16": 2, "fp16": 2}


def measure(
    specs: Sequence[DetectorSpec],
    conditions: Conditions,
    protocol: Protocol | None = None,
    *,
    with_profile: bool = False,
    anchor: tuple[DetectorSpec, float] | None = None,
    say: Say | None = None,
) -> Iterator[dict[str, Any]]:
    """Measure detectors with random weights at their own image sizes; yield a row of `latencies` for each.

    The anchor is the detector of median multiply-adds. To compare with earlier rows, `anchor` is theirs, with its
    milliseconds; the device must be in the same state.

    Keys beyond the conditions:

    - median_ms, p90_ms, spread_ms (interquartile range) and runs, for a whole batch
    - processes, and process_spread, the relative range of their medians
    - halves_ms, the medians of even and odd blocks
    - method, versions, and peak_memory_mb, or None
    - anchor, its digest, anchor_ms, and anchor_drift, its largest relative deviation around valid runs
    - with a profile, pieces_ms, each piece's share of the median, for an eager network only

    Raises UserError for a spec that does not fit or cannot run, before any measurement. Raises UnsteadyDevice where
    the device is busy or drifts, after yielding the complete rows.
    """
    protocol, say = protocol or Protocol(), say or _silent
    check(specs, conditions, with_profile=with_profile)
    groups = _groups(specs, conditions)
    if not protocol.anyway:
        refuse_busy(conditions, say)
    median = sorted(specs, key=lambda spec: count(spec).macs)[(len(specs) - 1) // 2]
    # The first group sets the reference; the device must stay in this state for later groups.
    chosen, reference = anchor or (median, None)
    for group in groups:
        session = _Session(group, chosen, conditions, protocol, with_profile, reference, say)
        yield from session.rows()
        reference = session.reference


def check(specs: Sequence[DetectorSpec], conditions: Conditions, *, with_profile: bool = False) -> None:
    """Raise UserError for errors that are known before any measurement."""
    if with_profile and (conditions.backend, conditions.scope) != ("eager", "network"):
        raise UserError(f"a profile needs backend eager and scope network; got {conditions.words()}")
    refuse_absent(conditions)
    _groups(specs, conditions)


# --- what fits -------------------------------------------------------------------------------------------------------


def _groups(specs: Sequence[DetectorSpec], conditions: Conditions) -> list[list[DetectorSpec]]:
    """Split the specs so that each group's weights and largest activations fill at most half the free memory."""
    free = free_memory(conditions.device)
    groups: list[list[DetectorSpec]] = []
    weights = 0.0
    for spec in specs:
        needed = memory_needed(count(spec), conditions)
        if sum(needed) > free:
            raise UserError(
                f"{spec.describe()} needs at least {sum(needed) / 1e9:.3g} GB ({conditions.words()}): {needed[0] / 1e9:.3g} of "
                f"weights and {needed[1] / 1e9:.3g} of activations, but {conditions.device} has {free / 1e9:.3g} GB free"
            )
        if not groups or weights + sum(needed) > free / 2:
            groups.append([])
            weights = 0.0
        groups[-1].append(spec)
        # A CUDA graph keeps its activations allocated.
        weights += sum(needed) if conditions.backend == "cuda_graphs" else needed[0]
    return groups


def memory_needed(cost: Cost, conditions: Conditions) -> tuple[float, float]:
    """Return the bytes of weights, and of peak activations, images included."""
    share = BYTES[conditions.dtype] / BYTES["float32"]
    return (cost.memory - cost.activation_memory) * share, cost.activation_memory * conditions.batch * share


# --- processes -------------------------------------------------------------------------------------------------------


class _Session:
    """The processes of one group."""

    def __init__(
        self,
        specs: Sequence[DetectorSpec],
        anchor: DetectorSpec,
        conditions: Conditions,
        protocol: Protocol,
        with_profile: bool,
        reference: float | None,
        say: Say,
    ) -> None:
        self.specs, self.anchor, self.conditions, self.protocol, self.say = specs, anchor, conditions, protocol, say
        self.seen = [Seen() for _ in specs]
        self.anchors: list[float] = []
        self._with_profile = with_profile
        self._reference = reference

    @property
    def reference(self) -> float:
        """The anchor's median time."""
        return self._reference or statistics.median(self.anchors)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Run processes until each detector has enough valid runs; yield a row for each that has."""
        missing, number = list(range(len(self.specs))), 0
        failure: BaseException | None = None
        while missing and number < MOST_PROCESSES * self.protocol.processes and failure is None:
            try:
                self._run_process(number, missing)
            except (UserError, KeyboardInterrupt) as error:
                if number < self.protocol.processes:
                    raise
                failure = error  # keeps the measurements of earlier processes
            number += 1
            if number >= self.protocol.processes:
                # Over all detectors, since the anchor's median and thus the valid runs change.
                missing = [
                    index
                    for index in range(len(self.specs))
                    if not self.seen[index].is_enough(self.reference, self.protocol)
                ]
        self._say_what_counts(number)
        yield from (self._row(index) for index in range(len(self.specs)) if index not in missing)
        if missing:
            raise failure or UnsteadyDevice(self._refusal(missing))

    def _run_process(self, number: int, indices: Sequence[int]) -> None:
        rounds = math.ceil(self.protocol.runs / self.protocol.processes / BLOCK)
        job = {
            "specs": [self.specs[index].to_dict() for index in indices],
            "anchor": self.anchor.to_dict(),
            "conditions": self.conditions.to_dict(),
            "rounds": rounds,
            "warm_runs": self.protocol.warm_runs,
            "seed": self.protocol.seed + number,
            "memory": number == 0,
            "profile": self._with_profile,
        }
        detectors = f"{len(indices)} detector{'s' if len(indices) > 1 else ''}"
        which = f"process {number + 1} of {self.protocol.processes}"
        if number >= self.protocol.processes:
            which = f"process {number + 1}, repeating runs during drift"
        self.say(f"{which}: {detectors}, {self.conditions.words()}")
        unsettled, progress = 0, Progress(len(indices), rounds, self.say)
        for event in run_worker(job):
            progress(event)
            if "blocks" in event:
                before, after = (statistics.median(anchor) for anchor in event["anchors"])
                self.anchors += [before, after]
                for place, times in event["blocks"]:
                    self.seen[indices[place]].blocks.append(Block(number, before, after, times))
            elif "memory" in event:
                for index, megabytes in zip(indices, event["memory"], strict=True):
                    self.seen[index].memory = megabytes
            elif "profile" in event:
                self.seen[indices[event["profile"]]].profiles.append(event["milliseconds"])
            elif "change" in event:
                unsettled += event["change"] >= WARM_UP["drift"]
            elif "others" in event:
                self._tell(number, event["others"], unsettled)

    def _tell(self, number: int, others: float, unsettled: int) -> None:
        words = f"  anchor {self.reference:.2f} ms"
        blocks = [each for seen in self.seen for each in seen.blocks if each.process == number]
        kept = sum(each.counts(self.reference, self.protocol) for each in blocks) / len(blocks)
        if not self.protocol.anyway:
            words += f"; {kept:.0%} of the runs are valid so far"
        if others > 0.1:
            words += f"; other programs used {others:.2f} of a core"
        if unsettled:
            words += f"; {unsettled} still changed by 1 % or more after the last warm-up runs"
        self.say(words)

    def _say_what_counts(self, processes: int) -> None:
        """Print the share of valid runs, by the anchor's final median."""
        blocks = [each for seen in self.seen for each in seen.blocks]
        counted = [each for each in blocks if each.counts(self.reference, self.protocol)]
        if not self.protocol.anyway:
            self.say(
                f"the anchor's median is {self.reference:.2f} ms: {len(counted) / len(blocks):.0%} of all runs are valid, in "
                f"{len({each.process for each in counted})} of {processes} processes"
            )

    def _refusal(self, missing: Sequence[int]) -> str:
        runs = {index: self.seen[index].counted(self.reference, self.protocol) for index in missing}
        worst = min(missing, key=lambda index: sum(map(len, runs[index].values())))
        most = max(abs(anchor / self.reference - 1) for anchor in self.anchors)
        within = "that agree within" if self.protocol.correct else "within"
        return (
            f"{device_name(self.conditions.device)} drifts: the anchor, {self.reference:.2f} ms, deviated by up to {most:.0%}. "
            f"{self.specs[worst].describe()} has {sum(map(len, runs[worst].values()))} valid runs in {len(runs[worst])} "
            f"processes, with anchors {within} {DRIFT:.0%}; needed are {self.protocol.runs} in {self.protocol.processes} "
            f"({len(missing)} of {len(self.specs)} detectors lack some). Measure on an idle device, use --correct for slow "
            "drift, or --anyway; rows record the drift"
        )

    def _row(self, index: int) -> dict[str, Any]:
        seen = self.seen[index]
        row = {
            "architecture": self.specs[index].digest,
            **self.conditions.to_dict(),
            "device": device_name(self.conditions.device),
            **seen.row(self.reference, self.protocol),
            "method": self.protocol.method,
            "anchor": self.anchor.digest,
            "versions": versions(self.conditions),
        }
        if self._with_profile:
            taken = [statistics.median(piece) for piece in zip(*seen.profiles, strict=True)]
            row["pieces_ms"] = [row["median_ms"] * each / sum(taken) for each in taken]
        return row


def _silent(words: str) -> None:
    pass
