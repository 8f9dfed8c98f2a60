"""The paper's detectors beside later ones, from published numbers: points of AP against a cost, and the later front."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from scaling_lab.report.analysis.detector_facts import PublishedDetector, published_detectors
from scaling_lab.report.analysis.published_tables import PAPER
from scaling_lab.report.tables import records
from scaling_lab.stats.fronts import pareto_front

# The paper's families in the order of their colours.
FAMILIES = ("EfficientDet", "RetinaNet", "ResNet-50 + NAS-FPN", "AmoebaNet + NAS-FPN", "Mask R-CNN", "YOLOv3")
# Sources of detectors that were published after the paper's first version (2019-11).
LATER = (
    *("yolov5", "scaled-yolov4", "ultralytics-yolov5u", "yolov6", "ultralytics-yolov7", "ultralytics-yolov8", "yolov9"),
    *("yolov10", "ultralytics-yolo11", "yolov12", "ultralytics-yolo26", "yolox", "damo-yolo", "mmdet-rtmdet"),
    *("paddle-ppyoloe", "paddle-ppyoloe-plus", "paddle-picodet", "nanodet"),
    *("detr", "deformable-detr", "rt-detr", "d-fine", "deim", "lw-detr", "rf-detr"),
)
OLDER_FAMILIES = ("Faster R-CNN",)  # in a later source, for comparison there
GROUPS = ("paper", "later, COCO alone", "later, more data")


def points(cost: str) -> pd.DataFrame:
    """Return the paper's and later detectors with AP and a cost: "gmacs", "params_m" or "latency_ms:DEVICE".

    Columns: label, family, series (a colour's number, -1 for later ones), group (of GROUPS), the cost without its device,
    ap, split, on_front, where, licence. The front is that of later detectors trained on COCO alone. Rows with test-time
    augmentation are left out.
    """
    name, _, device = cost.partition(":")
    value = _latency_on(device) if device else _COSTS[name]
    rows = [
        {
            "label": row.model,
            "family": row.family,
            "series": FAMILIES.index(row.family) if group == GROUPS[0] else -1,
            "group": group,
            name: value(row),
            "ap": row.ap,
            "split": row.split,
            "where": row.source.place,
            "licence": row.source.licence,
        }
        for row in published_detectors()
        if (group := _group(row)) and value(row) is not None
    ]
    table = pd.DataFrame(rows)
    comparable = table["ap"].where(table["group"] == GROUPS[1])
    return table.assign(on_front=pareto_front(table[name].tolist(), comparable.tolist()))


_COSTS: dict[str, Callable[[PublishedDetector], float | None]] = {
    "gmacs": lambda row: row.gmacs,
    "params_m": lambda row: row.params_m,
}


def _latency_on(device: str) -> Callable[[PublishedDetector], float | None]:
    def latency(row: PublishedDetector) -> float | None:
        fastest = row.fastest(device)
        return None if fastest is None else fastest.ms

    return latency


def _group(row: PublishedDetector) -> str:
    """Return the row's group, or "" for neither the paper's nor a later detector, and with test-time augmentation."""
    if row.source.source == PAPER:
        return GROUPS[0]
    if row.source.source not in LATER or row.family in OLDER_FAMILIES or row.test_time_augmentation == "yes":
        return ""
    return GROUPS[2] if row.extra_data else GROUPS[1]


def overtaken(table: pd.DataFrame, cost: str) -> pd.DataFrame:
    """Compare each EfficientDet with the later front: the best at no more cost, and the cheapest at no less AP.

    `table` is that of `points`. Columns: label, the cost, ap, best, best_ap, gain, cheapest, cheapest_cost, ratio (how many
    times EfficientDet costs more). A missing later detector gives "" and nan.
    """
    front = table[table["on_front"]].sort_values(cost)
    rows = []
    for row in records(table[table["family"] == FAMILIES[0]]):
        within = front[front[cost] <= row[cost]].tail(1)
        above = front[front["ap"] >= row["ap"]].head(1)
        best_ap = within["ap"].max()
        cheapest = above[cost].min()
        rows.append(
            {
                "label": row["label"],
                cost: row[cost],
                "ap": row["ap"],
                "best": next(iter(within["label"]), ""),
                "best_ap": best_ap,
                "gain": best_ap - row["ap"],
                "cheapest": next(iter(above["label"]), ""),
                "cheapest_cost": cheapest,
                "ratio": row[cost] / cheapest,
            }
        )
    return pd.DataFrame(rows)
