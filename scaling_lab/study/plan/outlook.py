"""The plan of a study as plain values: space, trials, time, disk, and the differences that its seeds can detect."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling_lab.stats.estimates import pooled_sd
from scaling_lab.stats.power import smallest_detectable
from scaling_lab.study.plan.forecast import Forecast
from scaling_lab.study.plan.survey import Survey


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """Earlier trials of this study in the run's folder: counts by state, mean seconds of complete ones, pooled seed SD."""

    states: Mapping[str, int]
    seconds: float | None
    sd: float | None
    degrees: int

    @classmethod
    def of(cls, rows: Sequence[Mapping[Any, Any]]) -> Earlier:
        """Summarise rows of comparable trials."""
        complete = [row for row in rows if row["state"] == "complete"]
        groups: dict[tuple[str, bool], list[float]] = {}
        for row in complete:
            if not math.isnan(row["ap"]):
                # Results that selected a finalist are biased, so they are left out.
                groups.setdefault((row["architecture"], row["role"] == "search"), []).append(row["ap"])
        sd, degrees = pooled_sd(list(groups.values()))
        return cls(
            states=dict(Counter(row["state"] for row in rows)),
            seconds=sum(row["seconds"] for row in complete) / len(complete) if complete else None,
            sd=sd if degrees else None,
            degrees=degrees,
        )


@dataclass(frozen=True, kw_only=True)
class Trials:
    """The amount of training in total, and the number of trials `left`; None where the data are unknown.

    `trials` counts the search's trials, `finalists` the most trials beyond them; `left` and `images_seen` count both.
    `seeds` is the least number of seeds of an architecture; without a grid, only re-proposed architectures get more.
    """

    trials: int
    finalists: int
    left: int
    architectures: int | None
    seeds: int
    epochs: int
    steps_per_epoch: int | None
    images_seen: int | None


@dataclass(frozen=True, kw_only=True)
class Places:
    """The machines for the trials, and the number of concurrent trials; 0 where none fits."""

    where: str
    machines: tuple[Mapping[str, float], ...]
    cpus_per_trial: float
    gpus_per_trial: float
    at_once: int


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Bytes: a trial's checkpoint and weights, from the smallest to the largest; the bytes left to write, and the free bytes.

    `features` are those of frozen backbones, which trials share; they are part of `total`.
    """

    checkpoint: tuple[int, int]
    weights: tuple[int, int]
    total: int
    free: int
    features: int = 0


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Memory of read-ahead images, in bytes for a trial's `readers`, at the largest image size.

    `free` is this machine's free memory; None where trials run elsewhere.
    """

    readers: int
    batch: int
    trial: int
    at_once: int
    free: int | None


@dataclass(frozen=True, kw_only=True)
class Feed:
    """Images/s that a trial's `readers` can read, `reader` each as measured here, and that training takes at most.

    `takes` is None where the rate of training is unknown.
    """

    readers: int
    reader: float
    trial: float
    takes: float | None


@dataclass(frozen=True, kw_only=True)
class GpuMemory:
    """Bytes on a GPU for the architecture with the most activations, `part` images of a batch in the network at once.

    They are counted on shapes (training/training_memory.py). `gpu` is the named GPU, else the one here, or None. `usable` is
    what a trial's share of it has for tensors. `most` is the number of images that fit, `accumulate` the least value that
    fits, None where no image does. `fits` has the least `accumulate` for each known GPU that can hold an image.
    """

    architecture: str
    fixed: int
    image: int
    part: int
    total: int
    gpu: str | None
    usable: int | None
    most: int | None
    accumulate: int | None
    fits: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class GpuTime:
    """GPU hours of the remaining trials, and of one, from the cheapest to the most expensive.

    `rates` are images/s of a trial, from the slowest to the fastest. `source` is None where they are measured on `gpu`.
    """

    hours: float
    trial: tuple[float, float]
    rates: tuple[float, float]
    gpu: str
    source: str | None


@dataclass(frozen=True, kw_only=True)
class Detectable:
    """The smallest true difference that a t-test of two architectures with `seeds` each detects with 80 % power.

    In SDs of a single result, and in AP where an earlier run gives the SD; None with one seed.
    """

    seeds: int
    sds: float | None
    ap: float | None

    @classmethod
    def of(cls, seeds: int, *, sd: float | None) -> Detectable:
        """Compute it as in reports: 80 % power, 5 % significance level, two-sided."""
        if seeds < 2:
            return cls(seeds=seeds, sds=None, ap=None)
        sds = smallest_detectable(1.0, seeds, seeds)
        return cls(seeds=seeds, sds=sds, ap=None if sd is None else sds * sd)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of a run. `notes` lists what is unknown, `problems` what will fail."""

    study: str
    form: str | None
    folder: Path
    sampler: str
    data: str | None
    space: Survey
    trials: Trials
    places: Places
    earlier: Earlier | None
    time: Forecast | None
    disk: Disk | None
    reading: Reading | None
    feed: Feed | None
    gpu_memory: GpuMemory | None
    gpu_time: GpuTime | None
    detectable: Detectable
    detectable_finalists: Detectable | None
    notes: tuple[str, ...]
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {name: _plain(value) for name, value in vars(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Survey):
        value = value.to_dict()
    elif dataclasses.is_dataclass(value):
        value = vars(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value
