"""The explorer's details of an architecture: facts, spec, topology, curves and detections as plain JSON values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from scaling_lab.architecture import DetectorSpec, Topology
from scaling_lab.metrics import COSTS, METRICS, written
from scaling_lab.report.analysis.architecture_names import topology_fusion, topology_name
from scaling_lab.report.analysis.frontier import Frontier
from scaling_lab.report.figures.topology_figure import geometry, topology_table
from scaling_lab.report.sections.pictures import MOST_IMAGES, THRESHOLD, data_uri, shrunk
from scaling_lab.report.tables import records
from scaling_lab.text import interval, plural

if TYPE_CHECKING:
    from scaling_lab.runs.reader import Runs

MOST_EPOCHS = 60  # points of a curve


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sample image: its id, its data URI, its size and scale in the page, and the boxes of its objects."""

    image: int
    href: str
    size: tuple[int, int]
    scale: float
    boxes: list[list[float]]


def numbers(values: pd.Series[Any], digits: int = 5) -> list[float | None]:
    """Return numbers rounded to significant digits; None for non-finite ones, which JSON lacks."""
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values.astype(float).tolist()]


def details(
    runs: Runs, frontier: Frontier, specs: Mapping[int, DetectorSpec], samples: Sequence[Sample]
) -> dict[str, Any]:
    """Return facts, spec, topology digest, curves and boxes of chosen rows of `frontier.architectures`, by row."""
    rows = records(frontier.architectures)
    probability = frontier.front_probability().tolist()
    epochs = runs.epochs()
    chosen = frontier.trials[frontier.trials["architecture"].isin({spec.digest for spec in specs.values()})]
    by_trial = dict(list(epochs[epochs["trial"].isin(set(chosen["trial"]))].groupby("trial")))
    by_digest: dict[str, list[dict[str, Any]]] = {}
    for row in records(chosen[["architecture", "trial", "seed"]]):
        by_digest.setdefault(str(row["architecture"]), []).append(row)
    found = {}
    for place, spec in specs.items():
        trials = sorted(by_digest[spec.digest], key=lambda row: (row["seed"], row["trial"]))
        found[str(place)] = {
            "facts": _facts(rows[place], probability[place], spec),
            "spec": spec.to_json(),
            "topology": spec.topology.digest,
            "curves": [
                {"seed": row["seed"]} | _curve(by_trial[row["trial"]]) for row in trials if row["trial"] in by_trial
            ],
            "boxes": _boxes(runs, int(trials[0]["trial"]), samples),
        }
    return found


def _facts(row: Mapping[str, Any], probability: float, spec: DetectorSpec) -> list[tuple[str, str]]:
    between = interval(row["ap_low"], row["ap_high"])
    spread = f" {between}" if between != "–" else ""
    height, width = spec.image_size
    facts = [
        ("AP", f"{row['ap_mean']:.1f}{spread}, {plural(int(row['n']), 'seed')} ({row['seeds']})"),
        *((METRICS[name].label, written(name, row[name])) for name in COSTS if not pd.isna(row.get(name))),
    ]
    if not math.isnan(probability):
        facts.append(("On the front", f"probability {probability:.2f}"))
    fusion = topology_fusion(spec.topology)
    return [
        *facts,
        ("Backbone", spec.backbone),
        ("Feature network", f"{topology_name(spec.topology)}{f', {fusion}' if fusion else ''}"),
        (
            "Size",
            f"{plural(spec.repeats, 'cell')} of width {spec.width}, heads of {plural(spec.head_repeats, 'layer')}",
        ),
        *([("Head", spec.head)] if spec.head != "anchors" else []),
        ("Image", f"{width} × {height} px"),
        ("File", f"specs/{spec.digest}.json"),
    ]


def _curve(epochs: pd.DataFrame) -> dict[str, Any]:
    """Return loss and AP by epoch, thinned to MOST_EPOCHS including the last."""
    rows = epochs.iloc[::-1].iloc[:: math.ceil(len(epochs) / MOST_EPOCHS)].iloc[::-1] if len(epochs) else epochs
    curve: dict[str, Any] = {"epoch": rows["epoch"].tolist()}
    return curve | {name: numbers(pd.to_numeric(rows[name]), 4) for name in ("loss", "ap") if name in rows}


def pictures(runs: Runs) -> list[Sample]:
    """Return the first sample images whose files exist."""
    classes = list(runs.category_names())
    found = []
    for image, path, objects in [sample for sample in runs.samples() if sample[1].is_file()][:MOST_IMAGES]:
        data, size, scale = shrunk(path)
        boxes = [_box(one, scale, classes) for one in objects]
        found.append(Sample(image=image, href=data_uri(data), size=size, scale=scale, boxes=boxes))
    return found


def _box(found: Mapping[str, Any], scale: float, classes: Sequence[int]) -> list[float]:
    """Return x, y, width, height, and the index of the class among the data's, or -1."""
    category = found["category_id"]
    place = classes.index(category) if category in classes else -1
    return [*(round(float(value) * scale, 1) for value in found["bbox"]), place]


def _boxes(runs: Runs, trial: int, samples: Sequence[Sample]) -> list[list[float]]:
    """Return a trial's detections on the samples: index of the sample, a box as from `_box`, the score."""
    if not samples:
        return []
    places = {sample.image: place for place, sample in enumerate(samples)}
    classes = list(runs.category_names())
    return [
        [place, *_box(box, samples[place].scale, classes), round(float(box["score"]), 2)]
        for found in runs.detections(trial)
        if (place := places.get(found["image_id"])) is not None
        for box in found["detections"]
        if box["score"] >= THRESHOLD
    ]


def drawings(topologies: Iterable[Topology]) -> dict[str, Any]:
    """Return the geometry of each topology (topology_figure.Geometry), rounded to 0.01 inch."""
    found: dict[str, Any] = {}
    for topology in topologies:
        if topology.digest in found:
            continue
        nodes = topology_table(topology)
        drawn = geometry(nodes)
        outputs = nodes.set_index("id")["output"]
        found[topology.digest] = {
            "size": _rounded(drawn.size),
            "levels": [[level, *_rounded([y])] for level, y in drawn.levels.items()],
            "nodes": [
                [index, *_rounded(place), int(index < topology.num_inputs), int(outputs[index])]
                for index, place in drawn.places.items()
            ],
            "edges": [[*_rounded([*edge.start, *edge.control, *edge.end]), edge.way] for edge in drawn.edges],
        }
    return found


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), 2) for value in values]
