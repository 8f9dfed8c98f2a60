"""Numbers from papers, shipped as CSV with their sources. Nothing here was measured by this package."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from scaling_lab.report.analysis.detector_facts import APS, PublishedDetector, published_detectors

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier

from importlib import resources

# Rows of arXiv:1911.09070v7, Table 5, by our topology and fusion names. Its BiFPN rows differ in fusion; all others use sum.
TABLE_5 = {
    ("FPN", ""): "Repeated FPN",
    ("PANet", ""): "Repeated FPN + PANet",
    ("NAS-FPN", ""): "NAS-FPN",
    ("Fully connected FPN", ""): "Fully-connected FPN",
    ("BiFPN", "sum"): "BiFPN without weights",
    ("BiFPN", "fast"): "BiFPN with weights",
}
COST_ONE = "Repeated FPN"  # the row to which the table's costs are relative
PAPER = "efficientdet-paper"  # the source whose detectors stand beside a run's results


def detectors() -> pd.DataFrame:
    """Load published detectors on COCO: model, AP by split, parameters, GMACs, own counts, source and where it is."""
    return pd.DataFrame([_row(each) for each in published_detectors()])


def _row(each: PublishedDetector) -> dict[str, Any]:
    costs = ("params_m", "gflops_printed", "printed_gmacs", "gmacs", "counted_as", "counted_params_m", "counted_gmacs")
    conditions = ("suppression", "extra_data", "test_time_augmentation", "note")
    return {
        **{name: getattr(each, name) for name in ("detector", "model", "family", *APS, *costs, *conditions)},
        "image_size": "×".join(map(str, dict.fromkeys(each.image_size or ()))),
        "ap": each.ap,
        "split": each.split,
        "source": each.source.source,
        "where": each.source.place,
        "licence": each.source.licence,
    }


def feature_networks() -> pd.DataFrame:
    """Load the published comparison of feature networks: AP, cost relative to the repeated FPN, source."""
    return _load("published_feature_networks")


def ablations() -> pd.DataFrame:
    """Load published ablations: of parts, of fusion, of schedules and of scale jitter, with sources."""
    return _load("published_ablations")


def table_5_row(topology: str, fusion: str) -> str | None:
    """Return the row of Table 5 for a topology as named by topology_name, or None if the paper has none."""
    return TABLE_5.get((topology, fusion)) or TABLE_5.get((topology, ""))


def _load(name: str) -> pd.DataFrame:
    path = resources.files("scaling_lab.report") / "published" / f"{name}.csv"
    with path.open(encoding="utf-8") as file:
        return pd.read_csv(file)


REACH = 4.0  # published detectors are shown within this factor of the lowest and highest cost of the run
# COCO's classes in the order of their ids (instances_val2017.json, categories), and the number of images in val2017.
_NAMES = """person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag, tie,
suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket,
bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut,
cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven,
toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush"""
COCO_CLASSES = tuple(name.strip() for name in _NAMES.split(","))
COCO_VAL, COCO_VAL_IMAGES = "val2017", 5000


def is_coco(meta: Mapping[str, Any]) -> bool:
    """Return whether a run's AP is of the whole of COCO's val2017: all 5,000 images and 80 classes.

    The AP of a subset is not comparable.
    """
    data = meta.get("data") or {}
    if data.get("kind") != "coco" or data.get("val") != COCO_VAL:
        return False
    same_classes = tuple(meta.get("class_names") or ()) == COCO_CLASSES
    return same_classes and held_out(str(meta.get("data_description", ""))) == COCO_VAL_IMAGES


def held_out(description: str) -> int | None:
    """Return the number of held-out images, parsed from a data set's description, the only place that has it."""
    found = re.search(rf"\band (\d+) of {COCO_VAL}, \d+ classes$", description)
    return int(found[1]) if found else None


def published_points(frontier: Frontier, cost: str = "gmacs") -> pd.DataFrame:
    """Return the paper's detectors within REACH of this run's costs: label, the cost, ap, split ("val", "test-dev"), source.

    The AP is on val, which runs evaluate, if it was published, and otherwise on test-dev.
    """
    costs = frontier.architectures[cost].astype(float)
    table = detectors()
    table = table[(table["source"] == PAPER) & table[cost].between(costs.min() / REACH, costs.max() * REACH)]
    several = table["model"].duplicated(keep=False)
    labels = table["model"].where(~several, table["model"] + ", " + table["image_size"] + " px")
    return table.assign(label=labels, source=table["where"])[["label", cost, "ap", "split", "source"]].reset_index(
        drop=True
    )
