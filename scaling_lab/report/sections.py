"""The sections that reports are made of: each a function from a run to a Section. They only arrange."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pandas as pd

from scaling_lab.report import figures, words
from scaling_lab.report.blocks import Block, Bullets, Column, Details, Facts, Figure, Gallery, Section, Table, Text
from scaling_lab.report.curves_figure import curves_figure
from scaling_lab.report.frontier import ACCURACIES, Frontier
from scaling_lab.report.names import topology_fusion, topology_name
from scaling_lab.report.tables import has_values, mean, records
from scaling_lab.report.topology_figure import GALLERY, topology_figure, topology_table

if TYPE_CHECKING:
    from scaling_lab.architecture import DetectorSpec
    from scaling_lab.runs import Runs

MOST_DRAWINGS = 12
MOST_CURVES = 60
MOST_CLASS_COLUMNS = 8

_NOTHING = "No trial is complete, so there is nothing to show here."


def conclusions(runs: Runs, frontier: Frontier) -> Section:
    """Say in plain words what can and cannot be concluded."""
    trials, table = runs.table(), frontier.architectures
    complete = int((trials["state"] == "complete").sum())
    tiles = [("architectures compared", str(len(table))), ("trials complete", f"{complete} of {len(trials)}")]
    if len(table):
        tiles += [("seeds", words.seeds_each(table).replace(" seeds", "").replace(" seed", ""))]
        tiles += [(f"highest AP: {table['label'].iloc[0]}", f"{table['ap_mean'].iloc[0]:.1f}")]
    return Section(
        title="Conclusions",
        blocks=(Facts(items=tuple(tiles), tiles=True), Bullets(items=words.conclusions(runs, frontier, trials))),
    )


# --- accuracy and cost -----------------------------------------------------------------------------------------------


def accuracy_and_cost(runs: Runs, frontier: Frontier) -> Section:
    """Show AP against GMACs with the front, against latency and against parameters."""
    if frontier.trials.empty:
        return Section(title="Accuracy and cost", blocks=(Text(text=_NOTHING),))
    marks = words.accuracy_caption(frontier)
    front = (
        "The line is the front: at a cost, the highest mean AP trained for it; its steps have no interval of their own."
    )
    gmacs = Figure(
        name="ap_against_gmacs",
        table=_figure_table(frontier.trials, "gmacs"),
        draw=figures.cost_figure,
        title="AP against multiply-adds",
        caption=f"{front} {marks} Only complete trials of one protocol and length are shown.",
        alt=f"AP against GMACs of {words.plural(len(frontier.architectures), 'architecture')}, with the Pareto front",
    )
    params = Figure(
        name="ap_against_params",
        table=_figure_table(_with_front(frontier.trials, "params_m"), "params_m"),
        draw=functools.partial(figures.cost_figure, cost="params_m"),
        title="AP against parameters",
        caption="Marks as above; the line is the front of AP against parameters.",
        alt="AP against parameters, with the Pareto front",
    )
    return Section(title="Accuracy and cost", blocks=(gmacs, *_latency_blocks(runs, frontier), params))


def _figure_table(trials: pd.DataFrame, cost: str, *more: str) -> pd.DataFrame:
    columns = ["label", "architecture", "trial", "seed", cost, *more, "ap", "n", "ap_mean", "ap_low", "ap_high"]
    return trials[[*columns, "on_front", "series"]]


def _with_front(trials: pd.DataFrame, cost: str) -> pd.DataFrame:
    """Mark the front of another cost than GMACs."""
    from scaling_lab.report.statistics import pareto_front

    points = trials.drop_duplicates("architecture")
    marks = dict(zip(points["architecture"], pareto_front(list(points[cost]), list(points["ap_mean"])), strict=True))
    return trials.assign(on_front=[marks[digest] for digest in trials["architecture"]])


CONDITIONS = ["device", "dtype", "batch", "threads", "backend"]


def _latency_blocks(runs: Runs, frontier: Frontier) -> list[Block]:
    """Give a figure for each condition that latency was measured under: never two devices on one axis."""
    measured = runs.latencies()
    measured = measured[measured["architecture"].isin(set(frontier.architectures["architecture"]))]
    if measured.empty:
        return [Text(text="Latency was not measured in this run.", tone="note")]
    found: list[Block] = []
    for index, (_, group) in enumerate(measured.groupby(CONDITIONS, sort=False)):
        found.append(_latency_figure(group, frontier, index))
    return found


def _latency_figure(group: pd.DataFrame, frontier: Frontier, index: int) -> Figure:
    first = group.iloc[0]
    condition = (
        f"{first['device']}, batch {first['batch']}, {first['dtype']}, "
        f"{words.plural(int(first['threads']), 'thread')}, {first['backend']}"
    )
    columns = group[["architecture", "median_ms", "p90_ms", "runs"]].rename(columns={"median_ms": "latency_ms"})
    trials = frontier.trials.drop(columns="latency_ms").merge(columns, on="architecture")
    table = _figure_table(_with_front(trials, "latency_ms"), "latency_ms", "p90_ms", "runs")
    missing = len(frontier.architectures) - group["architecture"].nunique()
    lacking = (
        f" {words.plural(missing, 'architecture')} without a measurement under this condition: not shown."
        if missing
        else ""
    )
    return Figure(
        name="ap_against_latency" if index == 0 else f"ap_against_latency_{index + 1}",
        table=table,
        draw=functools.partial(figures.latency_figure, name=f"latency, ms per batch of {first['batch']}"),
        title="AP against latency",
        caption=f"Measured on {condition}: the median of at least {int(group['runs'].min())} runs, "
        f"the line to the right ends at the 90th percentile. Other marks as above.{lacking}",
        alt=f"AP against latency on {condition}",
    )


# --- architectures ---------------------------------------------------------------------------------------------------


def architectures(runs: Runs, frontier: Frontier) -> Section:
    """Show the table of means, the cost by part, AP by class, and all trials."""
    found: list[Block] = []
    if len(frontier.architectures):
        found += [_means_table(frontier), *_parts_figure(frontier), *_class_table(runs, frontier)]
    else:
        found += [Text(text=_NOTHING)]
    return Section(title="Architectures", blocks=(*found, *_all_trials(runs, frontier)))


def _means_table(frontier: Frontier) -> Table:
    table = frontier.architectures.copy()
    table["interval"] = [words.interval_or_why(row["n"], row["ap_low"], row["ap_high"]) for row in records(table)]
    table["front"] = ["on the front" if on else "" for on in table["on_front"]]
    columns = [
        Column(key="label", label="Architecture", swatch="series"),
        Column(key="ap_mean", label="AP", digits=1, help="COCO AP, 0–100, mean over seeds"),
        Column(key="interval", label="95 % interval", sort="ap_low"),
        Column(key="n", label="Seeds", digits=0),
    ]
    names = {"ap50": "AP50", "ap75": "AP75", "ap_small": "AP small", "ap_medium": "AP medium", "ap_large": "AP large"}
    columns += [Column(key=name, label=names[name], digits=1) for name in ACCURACIES if has_values(table, name)]
    columns += [Column(key="gmacs", label="GMACs", digits=3, help="multiply-adds / 1e9 for one image")]
    if has_values(table, "gmacs_feature_network"):
        columns += [Column(key="gmacs_feature_network", label="feature network", digits=3, help="its GMACs alone")]
    columns += [Column(key="params_m", label="Params, M", digits=3)]
    if has_values(table, "latency_ms"):
        columns += [Column(key="latency_ms", label="Latency, ms", digits=1, help="median at batch 1")]
    columns += [
        Column(key="seconds", label="Training, s", digits=0, help="mean over seeds"),
        Column(key="front", label="Front"),
        Column(key="description", label="In full"),
    ]
    caption = "Means over seeds. Click a heading to sort."
    return Table(name="architectures", frame=table, columns=tuple(columns), caption=caption)


def _parts_figure(frontier: Frontier) -> list[Block]:
    table = frontier.architectures
    parts = [f"gmacs_{part}" for part in figures.PART_NAMES]
    if not all(has_values(table, part) for part in parts) or len(table) > 2 * MOST_DRAWINGS:
        return []
    return [
        Figure(
            name="gmacs_by_part",
            table=table[["label", "architecture", "gmacs", *parts]],
            draw=figures.parts_figure,
            title="Where the multiply-adds are",
            caption="GMACs of one image by part; the feature network is what a topology changes.",
            alt="GMACs of backbone, feature network and heads of each architecture",
        )
    ]


def _class_table(runs: Runs, frontier: Frontier) -> list[Block]:
    """Give AP by class, one row for each class, where trials recorded it."""
    chosen = frontier.architectures[frontier.architectures["series"] >= 0].head(MOST_CLASS_COLUMNS)
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
    table = Table(name="ap_by_class", frame=frame, columns=tuple(columns), caption="AP by class, means over seeds.")
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
        Column(key="state", label="State"),
        Column(key="epochs_done", label="Epochs", digits=0),
        Column(key="ap", label="AP", digits=1),
        Column(key="seconds", label="Seconds", digits=0),
        *(Column(key=name, label=name.removeprefix("param_").replace("_", " ")) for name in params),
    )
    table = Table(name="trials", frame=trials, columns=columns, caption="Every trial, whatever became of it.")
    return [Details(title=f"All {words.plural(len(trials), 'trial')}", blocks=(table,))]


# --- topologies, curves ----------------------------------------------------------------------------------------------


def topologies(runs: Runs, frontier: Frontier) -> Section:
    """Draw each topology once, those of the best architectures first."""
    specs = runs.specs()
    ranked = [*frontier.architectures["architecture"], *specs]
    users: dict[str, list[str]] = {}
    for digest in dict.fromkeys(ranked):
        users.setdefault(specs[digest].topology.digest, []).append(digest)
    drawn = [_topology(key, [specs[d] for d in digests]) for key, digests in list(users.items())[:MOST_DRAWINGS]]
    if not drawn:
        return Section(title="Topologies", blocks=(Text(text="The run holds no architecture yet."),))
    legend = (
        "One cell each. Rows are levels (P3 has stride 8, each further level twice that); hollow circles are the "
        "cell's inputs, ringed ones its outputs. Blue arrows go to a finer level, orange ones to a coarser level, grey "
        "ones along a level."
    )
    if len(users) > len(drawn):
        legend += f" {len(users) - len(drawn)} more topologies are not drawn."
    return Section(title="Topologies", blocks=(Text(text=legend, tone="note"), Gallery(figures=tuple(drawn))))


def _topology(digest: str, specs: list[DetectorSpec]) -> Figure:
    topology = specs[0].topology
    repeats = sorted({spec.repeats for spec in specs})
    stacked = f"cell ×{', ×'.join(str(number) for number in repeats)}"
    facts = [
        words.plural(len(topology.nodes), "node"),
        words.plural(topology.num_edges, "edge"),
        topology_fusion(topology),
        stacked,
    ]
    if len(specs) > 1:
        facts.append(f"{len(specs)} architectures")
    return Figure(
        name=f"topology_{topology.describe().replace(' ', '_').replace('+', '_').replace('-', '_')}_{digest[:6]}",
        table=topology_table(topology),
        draw=topology_figure,
        title=topology_name(topology),
        caption=", ".join(fact for fact in facts if fact) + ".",
        alt=f"Drawing of the topology {topology.describe()}",
        width=GALLERY,
    )


def curves(runs: Runs, frontier: Frontier) -> Section:
    """Show loss and AP by epoch of each trial."""
    epochs = runs.epochs()
    if epochs.empty:
        return Section(title="Learning curves", blocks=(Text(text="No trial has finished an epoch."),))
    trials = runs.table()[["trial", "architecture", "seed", "state"]]
    table = epochs.merge(trials, on="trial")
    table.insert(1, "label", [frontier.labels.get(digest, "") for digest in table["architecture"]])
    table["series"] = table["architecture"].map(frontier.series).fillna(-1).astype(int)
    order = table.drop_duplicates("trial").sort_values("series", key=lambda series: series < 0, kind="stable")["trial"]
    shown = table[table["trial"].isin(set(order.head(MOST_CURVES)))]
    cut = f" {MOST_CURVES} of {len(order)} trials are shown." if len(order) > MOST_CURVES else ""
    figure = Figure(
        name="learning_curves",
        table=shown,
        draw=curves_figure,
        title="",
        caption="One line for each trial, also for those that stopped or failed (grey where no trial of the "
        f"architecture is complete). AP where an epoch was evaluated.{cut}",
        alt="Training loss and AP by epoch of each trial",
    )
    return Section(title="Learning curves", blocks=(figure,))
