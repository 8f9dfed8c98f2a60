"""The table of all metrics of a detector: accuracies and costs, with label, unit, digits and direction.

Objectives, limits, the ledger's columns, tables, figures and the command line use it. To add a cost, write a function of a
spec and its `cost.Cost` and add a line to METRICS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from scaling_lab.text import number, significant

if TYPE_CHECKING:
    from scaling_lab.architecture.spec import DetectorSpec
    from scaling_lab.cost import Cost

MAXIMIZE, MINIMIZE = DIRECTIONS = ("maximize", "minimize")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number of a detector.

    `name` is its column, objective and limit; `label` heads a table's column, `axis` an axis; `unit` follows a number.
    `known` is how it becomes known: "evaluated" by training, "counted" or "predicted" before it, or "measured" on a device.
    A counted one has `count`, a function of a spec and its Cost. `digits` are decimals or, if `significant`, significant
    digits. `is_main`: tables show it even where no objective or limit names it.
    """

    name: str
    label: str
    axis: str
    unit: str
    known: str
    meaning: str
    direction: str = MINIMIZE
    digits: int = 3
    significant: bool = True
    count: Callable[[DetectorSpec, Cost], float] | None = None
    is_main: bool = True


def _accuracy(name: str, label: str, meaning: str) -> Metric:
    return Metric(
        name=name,
        label=label,
        axis=label,
        unit="AP",
        known="evaluated",
        meaning=meaning,
        direction=MAXIMIZE,
        digits=1,
        significant=False,
    )


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            _accuracy("ap", "AP", "COCO AP: the mean over IoU .50 to .95"),
            _accuracy("ap50", "AP50", "COCO AP at IoU .50"),
            _accuracy("ap75", "AP75", "COCO AP at IoU .75"),
            _accuracy("ap_small", "AP small", "COCO AP of objects below 32 x 32 px"),
            _accuracy("ap_medium", "AP medium", "COCO AP of objects of 32 x 32 to 96 x 96 px"),
            _accuracy("ap_large", "AP large", "COCO AP of objects above 96 x 96 px"),
            Metric(
                name="gmacs",
                label="GMACs",
                axis="GMACs per image",
                unit="GMACs",
                known="counted",
                meaning="multiply-adds / 1e9 for one image",
                count=lambda spec, cost: cost.gmacs,
            ),
            Metric(
                name="params_m",
                label="Params, M",
                axis="parameters, million",
                unit="million parameters",
                known="counted",
                meaning="parameters / 1e6",
                count=lambda spec, cost: cost.params_m,
            ),
            Metric(
                name="activations_m",
                label="Activations, M",
                axis="activations, million",
                unit="million activations",
                known="counted",
                meaning="output elements of convolutions and matrix products / 1e6, for one image",
                count=lambda spec, cost: cost.activations_m,
                is_main=False,
            ),
            Metric(
                name="memory_mb",
                label="Memory, MB",
                axis="counted memory, MB",
                unit="MB of memory",
                known="counted",
                meaning="megabytes of weights and activations for one float32 image, without operators' workspaces",
                count=lambda spec, cost: cost.memory_mb,
            ),
            Metric(
                name="predicted_latency_ms",
                label="Predicted, ms",
                axis="predicted latency, ms",
                unit="ms of predicted latency",
                known="predicted",
                meaning="milliseconds for one image, by the study's latency model",
                digits=1,
                significant=False,
            ),
            Metric(
                name="latency_ms",
                label="Latency, ms",
                axis="latency, ms",
                unit="ms of latency",
                known="measured",
                meaning="median milliseconds for one image on this device",
                digits=1,
                significant=False,
            ),
        )
    }
)


def names(*known: str) -> tuple[str, ...]:
    """Return the names of the metrics with these values of `known`, in the table's order."""
    return tuple(metric.name for metric in METRICS.values() if metric.known in known)


def written(name: str, value: float) -> str:
    """Return a metric's value as text with its digits, without unit."""
    metric = METRICS[name]
    return significant(value, metric.digits) if metric.significant else number(value, metric.digits)


def counted(spec: DetectorSpec, cost: Cost) -> dict[str, float]:
    """Return every counted metric of a spec, by name."""
    return {metric.name: metric.count(spec, cost) for metric in METRICS.values() if metric.count is not None}


ACCURACIES = names("evaluated")
COUNTED = names("counted")
MAIN_COUNTED = tuple(name for name in COUNTED if METRICS[name].is_main)
# The cost with which time and memory of training on a GPU grow.
TRAINING_EFFORT = "activations_m"
BEFORE_A_TRIAL = names("counted", "predicted")
COSTS = names("counted", "predicted", "measured")
