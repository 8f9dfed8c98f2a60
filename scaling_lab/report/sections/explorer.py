"""The section Explore: an interactive plot with a point for each architecture, to filter and to select.

assets/explorer.js draws these values with plotly.js. Without scripts the page shows only the table and the static figures.

    labels, digests, series, ap_low, ap_high, seeds     a value for each architecture, in the table's order
    across, up      the axes to choose from: name, label, log, values, and whether it is a cost
    colours         the ways to colour points: label, names, and each point's index among the names
    trials          the comparable trials: index of the architecture, seed, and values on the axes `up`
    details         facts, spec, topology, curves and boxes of the first architectures
    topologies      drawings by digest
    pictures        the sample images of the boxes; classes are their classes
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pandas as pd

from scaling_lab.architecture import DetectorSpec
from scaling_lab.metrics import ACCURACIES, COSTS, METRICS
from scaling_lab.report.analysis.architecture_names import topology_fusion, topology_name
from scaling_lab.report.analysis.frontier import Frontier
from scaling_lab.report.page.blocks import Explorer, Section
from scaling_lab.report.sections.architectures import means_table
from scaling_lab.report.sections.explorer_details import details, drawings, numbers, pictures
from scaling_lab.report.sections.pictures import THRESHOLD
from scaling_lab.report.tables import has_values

if TYPE_CHECKING:
    from scaling_lab.runs.reader import Runs

MOST_DETAILED = 200  # architectures with drawing, spec, curves and detections in the page
MOST_TRIALS = 3000  # points of seeds; beyond, only means
MOST_COLOURS = 8

ACROSS = {**{name: METRICS[name].axis for name in COSTS}, "seconds": "training time of a trial, s"}
UP = {name: METRICS[name].label for name in ACCURACIES}
CHOICES: dict[str, Callable[[DetectorSpec], object]] = {
    "Topology": lambda spec: topology_name(spec.topology),
    "Fusion": lambda spec: topology_fusion(spec.topology) or "none",
    "Backbone": lambda spec: spec.backbone,
    "Width": lambda spec: spec.width,
    "Cells": lambda spec: spec.repeats,
    "Head layers": lambda spec: spec.head_repeats,
    "Head": lambda spec: spec.head,
    "Image size": lambda spec: spec.image_size[0],
    "Levels": lambda spec: f"P{spec.topology.min_level}–P{spec.topology.max_level}",
}


def explore(runs: Runs, frontier: Frontier) -> Section:
    """Show the architectures with a complete trial as points and as the table of their means."""
    if len(frontier.architectures) == 0:
        return Section(title="Explore", blocks=())
    data = explorer_data(runs, frontier)
    several = frontier.degrees > 0
    caption = (
        f"Each point is an architecture{': the mean of its seeds, where it has several' if several else ', trained once'}. "
        + ("Small dots are seeds, bars 95 % intervals, within the limits of the axis. " if several else "")
        + "The line is the Pareto front of the points shown. Hover over a point for its values. Select a point or a row for "
        "details. Drag a frame to zoom or to select several points, and type in the filter to hide some."
    )
    return Section(title="Explore", blocks=(Explorer(table=means_table(runs, frontier), data=data, caption=caption),))


def explorer_data(runs: Runs, frontier: Frontier) -> dict[str, Any]:
    """Return the plain JSON values that the page's script draws, as in the module's docstring."""
    table, specs = frontier.architectures, runs.specs()
    shown = [specs[digest] for digest in table["architecture"]]
    detailed = {place: shown[place] for place in _detailed(table)}
    samples = pictures(runs)
    return {
        "labels": table["label"].tolist(),
        "digests": table["architecture"].tolist(),
        "ap_low": numbers(table["ap_low"]),
        "ap_high": numbers(table["ap_high"]),
        "seeds": table["n"].tolist(),
        "across": _across(table) + _parameters(frontier),
        "up": [
            {"name": name, "label": label, "values": numbers(table[_mean_of(name)])}
            for name, label in UP.items()
            if has_values(table, _mean_of(name))
        ],
        "colours": _colours(frontier, shown),
        "trials": _trials(frontier),
        "details": details(runs, frontier, detailed, samples),
        "topologies": drawings(spec.topology for spec in detailed.values()),
        "pictures": [
            {"href": sample.href, "width": sample.size[0], "height": sample.size[1], "truth": sample.boxes}
            for sample in samples
        ],
        "classes": list(runs.category_names().values()),
        "threshold": THRESHOLD,
    }


# --- axes and colours ------------------------------------------------------------------------------------------------


def _mean_of(name: str) -> str:
    return "ap_mean" if name == "ap" else name


def _across(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {"name": name, "label": label, "cost": True, "log": True, "values": numbers(table[name])}
        for name, label in ACROSS.items()
        if has_values(table, name) and float(table[name].min()) > 0.0
    ]


def _parameters(frontier: Frontier) -> list[dict[str, Any]]:
    """Return the space's numeric parameters that vary, as axes that are not costs."""
    found = []
    for column, values in _points(frontier).items():
        name = str(column)
        if pd.api.types.is_numeric_dtype(values) and values.nunique() > 1:
            label = name.removeprefix("param_").replace("_", " ")
            found.append({"name": name, "label": label, "cost": False, "log": False, "values": numbers(values)})
    return found


def _points(frontier: Frontier) -> pd.DataFrame:
    """Return each architecture's parameters, in the order of `architectures`."""
    columns = [name for name in frontier.trials.columns if str(name).startswith("param_")]
    first = frontier.trials.drop_duplicates("architecture").set_index("architecture")
    return first.reindex(frontier.architectures["architecture"])[columns]


def _colours(frontier: Frontier, specs: list[DetectorSpec]) -> list[dict[str, Any]]:
    """Return the ways to colour: by architecture if they are few, and by varying fields of specs and parameters."""
    table = frontier.architectures
    ways: list[dict[str, Any]] = []
    if len(table) <= MOST_COLOURS:
        ordered = table.sort_values("series")
        names = ordered["label"].tolist()
        ways.append({"label": "Architecture", "names": names, "of": [names.index(label) for label in table["label"]]})
    columns = {name: [read(spec) for spec in specs] for name, read in CHOICES.items()}
    for name, values in _points(frontier).items():
        label = str(name).removeprefix("param_").replace("_", " ").capitalize()
        columns.setdefault(label, values.tolist())
    for label, found in columns.items():
        texts = [_value(value) for value in found]
        names = [_value(value) for value in _in_order(found)]
        if 2 <= len(names) <= MOST_COLOURS:
            ways.append({"label": label, "names": names, "of": [names.index(text) for text in texts]})
    return ways


def _in_order(values: list[Any]) -> list[Any]:
    """Return distinct values: numbers sorted, a missing one last, others in order of appearance."""
    different = list({_value(value): value for value in values}.values())
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in different):
        return sorted(different, key=lambda value: (math.isnan(value), value))
    return different


def _value(value: object) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:g}"
    return str(value)


def _trials(frontier: Frontier) -> dict[str, list[Any]]:
    """Return the trials of architectures with several seeds, if few enough to draw."""
    trials = frontier.trials[frontier.trials["n"] > 1]
    if len(trials) > MOST_TRIALS:
        trials = trials.iloc[:0]
    places = {digest: place for place, digest in enumerate(frontier.architectures["architecture"])}
    up = {name: numbers(trials[name], 4) for name in ACCURACIES if has_values(trials, name)}
    return {"of": [places[digest] for digest in trials["architecture"]], "seed": trials["seed"].tolist(), **up}


def _detailed(table: pd.DataFrame) -> list[int]:
    """Return the architectures shown in detail: those on the front, then the best."""
    order = table.assign(place=range(len(table))).sort_values("on_front", ascending=False, kind="stable")
    return order["place"].head(MOST_DETAILED).tolist()
