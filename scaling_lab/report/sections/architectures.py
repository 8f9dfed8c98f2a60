"""The section Architectures (costs by part, AP by class, specs, all trials), and the table of means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from scaling_lab.metrics import ACCURACIES, COSTS, METRICS
from scaling_lab.report.analysis.architecture_names import topology_fusion, topology_name
from scaling_lab.report.analysis.frontier import Frontier
from scaling_lab.report.figures import cost_figures
from scaling_lab.report.page.blocks import Block, Column, Details, Figure, Section, Table, metric_column
from scaling_lab.report.sections import conclusion_words
from scaling_lab.report.tables import has_values, mean, records
from scaling_lab.text import interval, plural

if TYPE_CHECKING:
    from scaling_lab.runs.reader import Runs

MOST_BARS = 24
MOST_CLASS_COLUMNS = 12


def architectures(runs: Runs, frontier: Frontier) -> Section:
    """Show the cost by part, AP by class, the specs and all trials."""
    found: list[Block] = []
    if len(frontier.architectures):
        found += [*_parts_figure(frontier), *_class_table(runs, frontier)]
    if frontier.labels:
        found += [_specs_table(runs, frontier)]
    return Section(title="Architectures", blocks=(*found, *_all_trials(runs, frontier)))


def means_table(runs: Runs, frontier: Frontier) -> Table:
    """Return the table of means; values common to all rows are in the caption."""
    table = frontier.architectures.copy()
    table["interval"] = [interval(row["ap_low"], row["ap_high"]) for row in records(table)]
    table["front"] = ["●" if on else "" for on in table["on_front"]]
    table["front_probability"] = frontier.front_probability()
    columns = [
        Column(key="label", label="Architecture", swatch="series"),
        Column(key="ap_mean", label="AP", digits=1, help="COCO AP, 0–100, mean over seeds"),
    ]
    if has_values(table, "ap_low"):
        columns += [Column(key="interval", label="95 % interval", sort="ap_low")]
    if table["n"].nunique() > 1:
        columns += [Column(key="n", label="Seeds", digits=0)]
    columns += [metric_column(name) for name in ACCURACIES[1:] if has_values(table, name)]
    named = {*(runs.meta.get("objectives") or {}), *(runs.meta.get("limits") or {})}
    shown = [name for name in COSTS if METRICS[name].is_main or name in named]
    columns += [metric_column(name) for name in shown if has_values(table, name)]
    columns += [Column(key="front", label="Front")]
    if has_values(table, "front_probability"):
        shrunk = conclusion_words.shrunk(len(table))
        columns += [
            Column(
                key="front_probability",
                label="P(front)",
                digits=2,
                help=f"posterior probability of being on the front of AP against GMACs{f'; {shrunk}' if shrunk else ''}",
            )
        ]
    means = (
        "Single training runs" if table["n"].max() == 1 else f"Means over {conclusion_words.seed_counts(table)} seeds"
    )
    caption = f"{means}; ● is on the front of AP against GMACs."
    return Table(name="architectures", frame=table, columns=tuple(columns), caption=caption)


def _specs_table(runs: Runs, frontier: Frontier) -> Details:
    """Return the specs of all architectures, including those without a complete trial."""
    series, rows = frontier.series, []
    for digest, spec in runs.specs().items():
        height, width = spec.image_size
        rows.append(
            {"label": frontier.labels[digest], "series": series.get(digest, -1), "backbone": spec.backbone}
            | {"topology": topology_name(spec.topology), "fusion": topology_fusion(spec.topology)}
            | {"levels": f"P{spec.topology.min_level}–P{spec.topology.max_level}", "repeats": spec.repeats}
            | {"width": spec.width, "head_repeats": spec.head_repeats, "head": spec.head}
            | {"image": f"{width} × {height}", "digest": digest}
        )
    specs = pd.DataFrame(rows)
    columns = (
        Column(key="label", label="Architecture", swatch="series"),
        Column(key="backbone", label="Backbone"),
        Column(key="topology", label="Topology"),
        Column(key="fusion", label="Fusion"),
        Column(key="levels", label="Levels"),
        Column(key="repeats", label="Cells", digits=0, help="number of stacked cells"),
        Column(key="width", label="Width", digits=0, help="channels of the feature network"),
        Column(key="head_repeats", label="Head layers", digits=0),
        *([Column(key="head", label="Head")] if specs["head"].nunique() > 1 else []),
        Column(key="image", label="Image, px"),
    )
    caption = "Full specs are in the run's folder under specs/; the CSV names the files."
    table = Table(name="specs", frame=specs, columns=columns, caption=caption)
    return Details(title="Specs", blocks=(table,))


def _parts_figure(frontier: Frontier) -> list[Block]:
    table = frontier.architectures
    parts = [f"gmacs_{part}" for part in cost_figures.PART_NAMES]
    if not all(has_values(table, part) for part in parts) or len(table) > MOST_BARS:
        return []
    return [
        Figure(
            name="gmacs_by_part",
            table=table[["label", "architecture", "gmacs", *parts]],
            draw=cost_figures.parts_figure,
            title="Where the multiply-adds are",
            caption="GMACs of one image by part; the feature network is what a topology changes.",
            alt="GMACs of backbone, feature network and heads of each architecture",
        )
    ]


def _class_table(runs: Runs, frontier: Frontier) -> list[Block]:
    """Return AP by class, one row each, if trials recorded it."""
    chosen = frontier.architectures.head(MOST_CLASS_COLUMNS)
    by_class: dict[str, dict[str, float]] = {}
    for row in records(chosen):
        trials = frontier.trials.loc[frontier.trials["architecture"] == row["architecture"], "trial"]
        recorded = pd.DataFrame([runs.metrics(int(trial)).get("ap_by_class") or {} for trial in trials])
        for name in recorded:
            by_class.setdefault(str(name), {})[str(row["label"])] = mean(recorded[name])
    if not by_class:
        return []
    frame = pd.DataFrame([{"class": name, **values} for name, values in by_class.items()])
    columns = [
        Column(key="class", label="Class"),
        *(Column(key=str(c), label=str(c), digits=1) for c in frame.columns[1:]),
    ]
    caption = "AP by class" + (", means over seeds." if chosen["n"].max() > 1 else ".")
    table = Table(name="ap_by_class", frame=frame, columns=tuple(columns), caption=caption)
    return [Details(title=f"AP by class ({len(frame)} classes)", blocks=(table,))]


def _all_trials(runs: Runs, frontier: Frontier) -> list[Block]:
    trials = runs.table()
    if trials.empty:
        return []
    trials.insert(1, "label", [frontier.labels.get(digest, "") for digest in trials["architecture"]])
    params = [name for name in trials.columns if str(name).startswith("param_")]
    columns = (
        Column(key="label", label="Architecture"),
        Column(key="trial", label="Trial", digits=0),
        Column(key="seed", label="Seed", digits=0),
        *([Column(key="role", label="Role")] if trials["role"].nunique() > 1 else []),
        Column(key="state", label="State"),
        Column(key="epochs_done", label="Epochs", digits=0),
        Column(key="ap", label="AP", digits=1),
        Column(key="seconds", label="Seconds", digits=0),
        *(Column(key=name, label=name.removeprefix("param_").replace("_", " ").capitalize()) for name in params),
    )
    caption = "All trials in any state, with their points in the study's space."
    table = Table(name="trials", frame=trials, columns=columns, caption=caption)
    return [Details(title=plural(len(trials), "trial"), blocks=(table,))]
