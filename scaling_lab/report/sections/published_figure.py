"""Published detectors as marks beside this run's, where its AP is of the same images. None of them was measured here.

They are in no front, band, hypervolume or table of results; their own table gives each number with its source.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.figure import Figure as MatplotlibFigure

from scaling_lab.report.analysis import published
from scaling_lab.report.figures import cost_figures
from scaling_lab.report.figures.cost_marks import Marks, Overlay
from scaling_lab.report.figures.style import WIDE
from scaling_lab.report.page import blocks
from scaling_lab.report.tables import records
from scaling_lab.text import listed, plural

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier

REACH = 4.0  # published detectors are shown from this share of the cheapest cost here to this multiple of the dearest
# COCO's classes in the order of their ids (instances_val2017.json, categories), and the images of its val2017.
_NAMES = """person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag, tie,
suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket,
bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut,
cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven,
toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush"""
COCO_CLASSES = tuple(name.strip() for name in _NAMES.split(","))
COCO_VAL, COCO_VAL_IMAGES = "val2017", 5000


def is_coco(meta: Mapping[str, Any]) -> bool:
    """Say whether a run's AP is of COCO's val2017: all its 80 classes, and as many images as it has.

    A split of that name with fewer images or classes is a subset, whose AP is another.
    """
    data = meta.get("data") or {}
    if data.get("kind") != "coco" or data.get("val") != COCO_VAL:
        return False
    same_classes = tuple(meta.get("class_names") or ()) == COCO_CLASSES
    return same_classes and held_out(str(meta.get("data_description", ""))) == COCO_VAL_IMAGES


def held_out(description: str) -> int | None:
    """Read how many held-out images there are from what a data set on disk says of itself: no other place has it."""
    found = re.search(rf"\band (\d+) of {COCO_VAL}, \d+ classes$", description)
    return int(found[1]) if found else None


def published_points(frontier: Frontier, cost: str = "gmacs") -> pd.DataFrame:
    """Give the published detectors within reach of this run's costs: label, the cost, ap, split ("val", "test-dev"), source.

    The AP is that on val where it was published, for val is what a run evaluates, and otherwise that on test-dev.
    """
    costs = frontier.architectures[cost].astype(float)
    table = published.detectors()
    table = table[table[cost].between(costs.min() / REACH, costs.max() * REACH)]
    rows = []
    for row in records(table):
        on_val = not math.isnan(row["ap_val"])
        several = int((table["model"] == row["model"]).sum()) > 1
        rows.append(
            {"label": f"{row['model']}, {row['image_size']:.0f} px" if several else row["model"], cost: row[cost]}
            | {"ap": row["ap_val"] if on_val else row["ap_test"], "split": "val" if on_val else "test-dev"}
            | {"source": row["source"]}
        )
    return pd.DataFrame(rows, columns=["label", cost, "ap", "split", "source"]).dropna(subset="ap")


def published_blocks(
    meta: Mapping[str, Any], frontier: Frontier, table: pd.DataFrame, band: pd.DataFrame
) -> list[blocks.Block]:
    """Give the figure of AP against GMACs once more with published detectors, and their table; nothing off COCO.

    `table` is the figure's, a row for each trial, and `band` where their front may lie.
    """
    points = published_points(frontier) if is_coco(meta) else pd.DataFrame()
    if points.empty:
        return []
    sources = listed(sorted(set(points["source"])))
    splits = sorted(set(points["split"]))
    caption = (
        f"Grey stars are not of this run: published numbers of full training on COCO ({sources}), AP on "
        f"{'val where it was published, else on test-dev' if 'test-dev' in splits else 'val'}, GMACs at each model's own image "
        f"size. They have no interval and take no part in the front. Shown are those within {REACH:g} times this run's costs."
    )
    figure = blocks.Figure(
        name="ap_against_gmacs_published",
        table=table,
        draw=functools.partial(published_figure, points=points, band=band),
        title="AP against multiply-adds, beside published detectors",
        caption=caption,
        alt=f"AP against GMACs with the Pareto front, and {plural(len(points), 'published detector')} in grey",
    )
    columns = (
        blocks.Column(key="label", label="Published detector"),
        blocks.metric_column("gmacs"),
        blocks.Column(key="ap", label="AP, published", digits=1),
        blocks.Column(key="split", label="On"),
        blocks.Column(key="source", label="Source"),
    )
    own = blocks.Table(
        name="published_detectors", frame=points, columns=columns, caption="None of them was measured here."
    )
    return [figure, blocks.Details(title="The published numbers in this figure", blocks=(own,))]


def published_figure(
    trials: pd.DataFrame, width: float = WIDE, *, points: pd.DataFrame, band: pd.DataFrame | None = None
) -> MatplotlibFigure:
    """Draw cost_figures.cost_figure with published points (label, gmacs, ap, split) as grey hollow stars, labelled in italics."""
    kinds = [
        Marks(name=f"published, AP on {split} (not measured here)", points=group, marker=marker, hollow=True, size=70)
        for split, marker in (("val", "*"), ("test-dev", "P"))
        if len(group := points[points["split"] == split])
    ]
    overlay = Overlay(
        marks=tuple(kinds), labels=tuple(f"{label} (published)" for label in points["label"]), points=points
    )
    return cost_figures.cost_figure(trials, width, band=band, overlay=overlay)
