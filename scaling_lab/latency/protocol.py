"""A latency that can be believed: several processes, interleaved detectors, an anchor between them, and nobody else there.

Every detector runs at least 200 times in at least three processes, after a warm-up that has settled. What ran between two
runs of the anchor that lie within 3 % of its median counts; what did not is run again, and where too little can be
counted, there is no result but an error. On a machine whose speed changes within minutes, times may be corrected instead:
divided by how much slower than its median the anchor beside them was. Rows say which of the two they are.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.cost import Cost, count
from scaling_lab.errors import UserError
from scaling_lab.latency import worker
from scaling_lab.latency.conditions import Conditions
from scaling_lab.latency.device import device_name, free_memory, versions
from scaling_lab.latency.quiet import refuse_absent, refuse_busy
from scaling_lab.latency.rules import DRIFT, Protocol
from scaling_lab.latency.seen import Block, Seen
from scaling_lab.latency.timing import summary
from scaling_lab.latency.worker_process import Progress, Say, run_worker

MOST = 3  # times as many processes as asked for are run, before it is given up
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
    """Measure detectors with random weights at their own image sizes; give a row of `latencies` for each.

    The anchor is the one of them that has the median multiply-adds; where rows are to stand beside earlier ones, `anchor` is
    theirs with its milliseconds, and the device must be as it was.

    Keys beside the conditions: median_ms, p90_ms, spread_ms (interquartile), runs; processes, and process_spread, by how much
    their medians differ, a share; halves_ms, the medians of every second block and of the others; method; anchor, the
    anchor's digest, anchor_ms, and anchor_drift, the largest share by which it was off beside counted runs; peak_memory_mb,
    or None where it cannot be known; versions. Times are of a whole batch. With a profile also pieces_ms, what each of
    profile.py's pieces takes of the median, which needs an eager network alone.

    Raises UserError where the device is busy or drifts, after the rows that could be had; for a spec that does not fit the
    device or cannot run so, before anything is measured.
    """
    protocol, say = protocol or Protocol(), say or _silent
    check(specs, conditions, with_profile=with_profile)
    groups = _groups(specs, conditions)
    if not protocol.anyway:
        refuse_busy(conditions, say)
    median = sorted(specs, key=lambda spec: count(spec).macs)[(len(specs) - 1) // 2]
    # The reference is the first group's: later ones must find the device as it was.
    chosen, reference = anchor or (median, None)
    for group in groups:
        session = _Session(group, chosen, conditions, protocol, with_profile, reference, say)
        yield from session.rows()
        reference = session.reference


def check(specs: Sequence[DetectorSpec], conditions: Conditions, *, with_profile: bool = False) -> None:
    """Raise UserError for what can be known to fail before anything is measured."""
    if with_profile and (conditions.backend, conditions.scope) != ("eager", "network"):
        raise UserError(f"a profile is of the network alone, eager; asked for {conditions.words()}")
    refuse_absent(conditions)
    _groups(specs, conditions)


# --- what fits -------------------------------------------------------------------------------------------------------


def _groups(specs: Sequence[DetectorSpec], conditions: Conditions) -> list[list[DetectorSpec]]:
    """Split the specs so that each group's weights and largest activations fill no more than half of what is free."""
    free = free_memory(conditions.device)
    groups: list[list[DetectorSpec]] = []
    weights = 0.0
    for spec in specs:
        needed = memory_needed(count(spec), conditions)
        if sum(needed) > free:
            raise UserError(
                f"{spec.describe()} needs at least {sum(needed) / 1e9:.3g} GB, {conditions.words()}: {needed[0] / 1e9:.3g} of "
                f"weights and {needed[1] / 1e9:.3g} of activations; {conditions.device} has {free / 1e9:.3g} GB free"
            )
        if not groups or weights + sum(needed) > free / 2:
            groups.append([])
            weights = 0.0
        groups[-1].append(spec)
        # A CUDA graph keeps its activations.
        weights += sum(needed) if conditions.backend == "cuda_graphs" else needed[0]
    return groups


def memory_needed(cost: Cost, conditions: Conditions) -> tuple[float, float]:
    """Give bytes of weights, and of the most activations that are alive at once, images among them."""
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
        """The anchor's time."""
        return self._reference or statistics.median(self.anchors)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Run processes until each detector has been seen enough; give a row for each that has."""
        missing, number = list(range(len(self.specs))), 0
        failure: BaseException | None = None
        while missing and number < MOST * self.protocol.processes and failure is None:
            try:
                self._run_process(number, missing)
            except (UserError, KeyboardInterrupt) as error:
                if number < self.protocol.processes:
                    raise
                failure = error  # what the first ones have measured is not lost
            number += 1
            if number >= self.protocol.processes:
                # Of all: the anchor's median moves, and with it what counts.
                missing = [index for index in range(len(self.specs)) if not self._is_enough(index)]
        self._say_what_counts(number)
        yield from (self._row(index) for index in range(len(self.specs)) if index not in missing)
        if missing:
            raise failure or UserError(self._refusal(missing))

    def _is_enough(self, index: int) -> bool:
        runs = self.seen[index].counted(self.reference, self.protocol)
        return len(runs) >= self.protocol.processes and sum(map(len, runs.values())) >= self.protocol.runs

    def _run_process(self, number: int, indices: Sequence[int]) -> None:
        rounds = math.ceil(self.protocol.runs / self.protocol.processes / worker.BLOCK)
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
            which = f"process {number + 1}, for what ran while the anchor drifted"
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
                unsettled += event["change"] >= worker.WARM_UP["drift"]
            elif "others" in event:
                self._tell(number, event["others"], unsettled)

    def _tell(self, number: int, others: float, unsettled: int) -> None:
        words = f"  the anchor took {self.reference:.2f} ms"
        blocks = [each for seen in self.seen for each in seen.blocks if each.process == number]
        kept = sum(each.counts(self.reference, self.protocol) for each in blocks) / len(blocks)
        if not self.protocol.anyway:
            words += f"; {kept:.0%} of the runs beside it count by now"
        if others > 0.1:
            words += f"; other programs used {others:.2f} of a core"
        if unsettled:
            words += f"; after {worker.WARM_UP['most']} runs of warm-up {unsettled} still changed by 1 % and more"
        self.say(words)

    def _say_what_counts(self, processes: int) -> None:
        """Say what became of all runs: the anchor's median has moved with each process."""
        blocks = [each for seen in self.seen for each in seen.blocks]
        counted = [each for each in blocks if each.counts(self.reference, self.protocol)]
        if not self.protocol.anyway:
            self.say(
                f"the anchor's median is {self.reference:.2f} ms: {len(counted) / len(blocks):.0%} of all runs count, of "
                f"{len({each.process for each in counted})} of {processes} processes"
            )

    def _refusal(self, missing: Sequence[int]) -> str:
        runs = {index: self.seen[index].counted(self.reference, self.protocol) for index in missing}
        worst = min(missing, key=lambda index: sum(map(len, runs[index].values())))
        most = max(abs(anchor / self.reference - 1) for anchor in self.anchors)
        within = "agree within" if self.protocol.correct else "lie within"
        return (
            f"{device_name(self.conditions.device)} drifts: the anchor, {self.reference:.2f} ms, was off by up to {most:.0%}; of "
            f"{self.specs[worst].describe()} {sum(map(len, runs[worst].values()))} runs in {len(runs[worst])} processes count, "
            f"for which anchors {within} {DRIFT:.0%}, and {self.protocol.runs} in {self.protocol.processes} are needed "
            f"({len(missing)} of {len(self.specs)} detectors lack some). Measure when the device is quiet, with --correct where "
            "its speed changes slowly, or --anyway; rows tell the drift"
        )

    def _row(self, index: int) -> dict[str, Any]:
        seen = self.seen[index]
        runs = seen.counted(self.reference, self.protocol)
        times = [each for process in runs.values() for each in process]
        medians = [statistics.median(process) for process in runs.values()]
        row = {
            "architecture": self.specs[index].digest,
            **self.conditions.to_dict(),
            "device": device_name(self.conditions.device),
            **summary(times),
            "processes": len(runs),
            "method": self.protocol.method,
            "process_spread": (max(medians) - min(medians)) / statistics.median(times),
            "halves_ms": seen.halves(self.reference, self.protocol),
            "anchor": self.anchor.digest,
            "anchor_ms": self.reference,
            "anchor_drift": seen.drift(self.reference, self.protocol),
            "peak_memory_mb": seen.memory,
            "versions": versions(self.conditions),
        }
        if self._with_profile:
            taken = [statistics.median(piece) for piece in zip(*seen.profiles, strict=True)]
            row["pieces_ms"] = [row["median_ms"] * each / sum(taken) for each in taken]
        return row


def _silent(words: str) -> None:
    pass
