"""What a study will take, as plain values: its space, trials, time, disk, and what its seeds can show.

planning.py finds it out, and the command line puts it into words.
"""

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
    """What the run's folder holds of this study: trials by state, complete ones' mean seconds, and the pooled seed SD."""

    states: Mapping[str, int]
    seconds: float | None
    sd: float | None
    degrees: int

    @classmethod
    def of(cls, rows: Sequence[Mapping[Any, Any]]) -> Earlier:
        """Sum up rows of trials that may be compared."""
        complete = [row for row in rows if row["state"] == "complete"]
        groups: dict[tuple[str, bool], list[float]] = {}
        for row in complete:
            if not math.isnan(row["ap"]):
                # What chose a finalist is no fair sample of its results.
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
    """How much is to be trained in all, and how many trials are `left`; None where the data are not known.

    `trials` are the search's, `finalists` the most that these take beyond them; `left` and `images_seen` count both. `seeds`
    is the least that an architecture gets; without a grid only those that are proposed again get more than one.
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
    """Where trials are to run: what each machine has, and how many trials run at once; 0 where none fits."""

    where: str
    machines: tuple[Mapping[str, float], ...]
    cpus_per_trial: float
    gpus_per_trial: float
    at_once: int


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Bytes: a trial's checkpoint and weights, from the smallest to the largest; what is left to write; what is free."""

    checkpoint: tuple[int, int]
    weights: tuple[int, int]
    total: int
    free: int


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the images that are read ahead take: bytes of a trial's memory for its `readers`, at the largest image size.

    `free` are those of this machine; None where trials run elsewhere.
    """

    readers: int
    batch: int
    trial: int
    at_once: int
    free: int | None


@dataclass(frozen=True, kw_only=True)
class Detectable:
    """The smallest true difference between two architectures with `seeds` each that a t-test finds four times in five.

    In SDs of one result, and in AP where an earlier run tells the SD; None with one seed, which shows no difference.
    """

    seeds: int
    sds: float | None
    ap: float | None

    @classmethod
    def of(cls, seeds: int, *, sd: float | None) -> Detectable:
        """Compute it as reports do: 80 % power, 5 %, two-sided."""
        if seeds < 2:
            return cls(seeds=seeds, sds=None, ap=None)
        sds = smallest_detectable(1.0, seeds, seeds)
        return cls(seeds=seeds, sds=sds, ap=None if sd is None else sds * sd)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that is known before a run. `notes` say what is not, `problems` what will not work."""

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
    detectable: Detectable
    detectable_finalists: Detectable | None
    notes: tuple[str, ...]
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give plain JSON values."""
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
