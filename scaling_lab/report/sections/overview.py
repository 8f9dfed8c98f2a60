"""The sections on the answer, its limits, accuracy and cost, topologies and learning curves of a run."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import pandas as pd

from scaling_lab.metrics import METRICS
from scaling_lab.report.analysis.architecture_names import SPELLINGS, topology_fusion, topology_name
from scaling_lab.report.analysis.frontier import Frontier, with_front
from scaling_lab.report.figures import cost_figures
from scaling_lab.report.figures.curves_figure import curves_figure, has_curve
from scaling_lab.report.figures.topology_figure import GALLERY, topology_figure, topology_table
from scaling_lab.report.page.blocks import Block, Bullets, Figure, Gallery, Section, Text
from scaling_lab.report.sections import conclusion_words
from scaling_lab.report.sections.fidelities import fidelity_blocks
from scaling_lab.report.sections.latency_words import condition_words, not_quiet, quick_caution
from scaling_lab.report.sections.published_detectors import published_blocks
from scaling_lab.report.tables import has_values
from scaling_lab.runs.latencies import CONDITIONS
from scaling_lab.text import listed, plural, significant

if TYPE_CHECKING:
    from scaling_lab.architecture import DetectorSpec
    from scaling_lab.runs.reader import Runs

MOST_DRAWINGS = 12
MOST_CURVES = 60


def answer(runs: Runs, frontier: Frontier) -> str:
    """Answer in one sentence which architecture has the highest AP."""
    text = conclusion_words.answer(frontier, runs.table())
    return f"{text} APs are read from shared weights." if runs.meta.get("shared") else text


def limits(runs: Runs, frontier: Frontier) -> Section:
    """Show what limits the answer."""
    found = conclusion_words.limits(runs, frontier, runs.table())
    return Section(title="Limits", blocks=(Bullets(items=found),) if found else ())


# --- accuracy and cost -----------------------------------------------------------------------------------------------


def accuracy_and_cost(runs: Runs, frontier: Frontier) -> Section:
    """Show AP against GMACs with the front, against latency and against parameters."""
    if frontier.trials.empty:
        return Section(title="Accuracy and cost", blocks=())
    marks = conclusion_words.accuracy_caption(frontier)
    band = frontier.front_band("gmacs")
    shrunk = conclusion_words.shrunk(len(frontier.architectures))
    front = "The line is the Pareto front of the means." + (
        f" The band is the 90 % posterior interval of the true front{f'; {shrunk}' if shrunk else ''}."
        if len(band)
        else ""
    )
    gmacs = Figure(
        name="ap_against_gmacs",
        table=_figure_table(frontier.trials, "gmacs"),
        draw=functools.partial(cost_figures.cost_figure, band=band),
        title="AP against multiply-adds",
        caption=f"{front} {marks}",
        alt=f"AP against GMACs of {plural(len(frontier.architectures), 'architecture')}, with the Pareto front",
    )
    beside = [
        *fidelity_blocks(runs, frontier, gmacs.table, band),
        *published_blocks(runs.meta, frontier, gmacs.table, band),
    ]
    params = Figure(
        name="ap_against_params",
        table=_figure_table(with_front(frontier.trials, "params_m"), "params_m"),
        draw=functools.partial(cost_figures.cost_figure, cost="params_m"),
        title="AP against parameters",
        caption="Marks as above; the line is the front of AP against parameters.",
        alt="AP against parameters, with the Pareto front",
    )
    return Section(
        title="Accuracy and cost",
        blocks=(
            *([Bullets(items=said)] if (said := conclusion_words.findings(runs, frontier)) else []),
            gmacs,
            *_hypervolume(frontier),
            *beside,
            *_predicted(runs, frontier),
            *_latency_blocks(runs, frontier),
            params,
            *_memory(frontier),
        ),
    )


def _memory(frontier: Frontier) -> list[Block]:
    """Show AP against memory if the run has it."""
    if not has_values(frontier.trials, "memory_mb"):
        return []
    return [
        Figure(
            name="ap_against_memory",
            table=_figure_table(with_front(frontier.trials, "memory_mb"), "memory_mb"),
            draw=functools.partial(cost_figures.cost_figure, cost="memory_mb"),
            title="AP against memory",
            caption=f"Memory is counted: {METRICS['memory_mb'].meaning}. Marks as above; the line is the front.",
            alt="AP against memory, with the Pareto front",
        )
    ]


def _hypervolume(frontier: Frontier) -> list[Block]:
    """Return the hypervolume with its posterior interval."""
    volume, reference = frontier.hypervolume("gmacs")
    if math.isnan(volume.low):
        return []
    text = (
        f"Hypervolume: {volume.median:.1f} [{volume.low:.1f}, {volume.high:.1f}] AP × halvings of cost, posterior median and "
        f"95 % interval. The reference point is {significant(reference[0])} GMACs (twice the highest cost) and 0 AP."
    )
    return [Text(text=text, tone="note")]


def _predicted(runs: Runs, frontier: Frontier) -> list[Block]:
    """Show AP against predicted latency if the study has a model; measured latency has its own figures."""
    cost = "predicted_latency_ms"
    if not has_values(frontier.trials, cost):
        return []
    return [
        Figure(
            name="ap_against_predicted_latency",
            table=_figure_table(with_front(frontier.trials, cost), cost),
            draw=functools.partial(cost_figures.cost_figure, cost=cost),
            title="AP against predicted latency",
            caption=f"Predicted by {runs.meta.get('latency_model')}, not measured. Marks as above.",
            alt="AP against predicted latency, with the Pareto front",
        )
    ]


def _figure_table(trials: pd.DataFrame, cost: str, *more: str) -> pd.DataFrame:
    columns = ["label", "architecture", "trial", "seed", cost, *more, "ap", "n", "ap_mean", "ap_low", "ap_high"]
    return trials[[*columns, "on_front", "series"]]


def _latency_blocks(runs: Runs, frontier: Frontier) -> list[Block]:
    """Return a figure for each condition of latency, so that devices never share an axis."""
    measured = runs.latencies()
    measured = measured[measured["architecture"].isin(set(frontier.architectures["architecture"]))]
    if measured.empty:
        return [Text(text="Latency was not measured in this run.", tone="note")]
    found: list[Block] = []
    for index, (_, group) in enumerate(measured.groupby([*CONDITIONS, "method"], sort=False)):
        found.append(_latency_figure(group, runs, frontier, index))
    return found


def _latency_figure(group: pd.DataFrame, runs: Runs, frontier: Frontier, index: int) -> Figure:
    first = group.iloc[0]
    condition = condition_words(first)
    columns = group[["architecture", "median_ms", "p90_ms", "runs"]].rename(columns={"median_ms": "latency_ms"})
    trials = frontier.trials.drop(columns="latency_ms").merge(columns, on="architecture")
    caution = quick_caution(group, runs.meta)
    trials = trials.assign(on_front=False) if caution else with_front(trials, "latency_ms")
    table = _figure_table(trials, "latency_ms", "p90_ms", "runs")
    missing = len(frontier.architectures) - group["architecture"].nunique()
    lacking = (
        f" {plural(missing, 'architecture')} without a measurement under this condition: not shown." if missing else ""
    )
    return Figure(
        name="ap_against_latency" if index == 0 else f"ap_against_latency_{index + 1}",
        table=table,
        draw=functools.partial(cost_figures.latency_figure, name=f"latency, ms per batch of {first['batch']}"),
        title="AP against latency",
        caption=f"Measured on {condition}: the median of at least {int(group['runs'].min())} runs, "
        f"the whisker ends at the 90th percentile.{caution}{not_quiet(group)} Other marks as above.{lacking}",
        alt=f"AP against latency on {condition}",
    )


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
        return Section(title="Topologies", blocks=(Text(text="The run has no architecture yet."),))
    legend = (
        "One cell each. Rows are levels (P3 has stride 8, each further level twice that); hollow circles are the "
        "cell's inputs, ringed ones its outputs. Blue arrows go to a finer level, orange ones to a coarser level, grey "
        "ones along a level."
    )
    if any(specs[digest].topology.published_name == "none" for digest in ranked):
        legend += f" {SPELLINGS['none']}: each level has a convolution, and no edges connect levels."
    if len(users) > len(drawn):
        legend += f" {len(users) - len(drawn)} more topologies are not drawn."
    return Section(title="Topologies", blocks=(Text(text=legend, tone="note"), Gallery(figures=tuple(drawn))))


def _topology(digest: str, specs: list[DetectorSpec]) -> Figure:
    topology = specs[0].topology
    repeats = sorted({spec.repeats for spec in specs})
    between = sum(topology.level_of[source] != node.level for node in topology.nodes for source in node.inputs)
    facts = [
        plural(len(topology.nodes), "node"),
        f"{plural(topology.num_edges, 'edge')} ({between or 'none'} between levels)",
        f"fusion: {topology_fusion(topology)}" if topology_fusion(topology) else "",
        f"{listed([str(number) for number in repeats])} {'cell' if repeats == [1] else 'cells'}",
        plural(len(specs), "architecture") if len(specs) > 1 else "",
    ]
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
    if runs.epochs().empty:
        return Section(title="Learning curves", blocks=(Text(text="No trial has finished an epoch."),))
    table = curves_table(runs, frontier)
    order = table.drop_duplicates("trial").sort_values("series", key=lambda series: series < 0, kind="stable")["trial"]
    shown = table[table["trial"].isin(set(order.head(MOST_CURVES)))]
    caption = (
        "One line for each trial, including stopped and failed ones (grey if no trial of the architecture is complete)."
    )
    if not has_curve(shown, "ap"):
        caption += " AP was evaluated at most once in a trial, so it has no curve."
    if len(order) > MOST_CURVES:
        caption += f" {MOST_CURVES} of {len(order)} trials are shown."
    figure = Figure(
        name="learning_curves",
        table=shown,
        draw=curves_figure,
        title="",
        caption=caption,
        alt="Training loss and AP by epoch of each trial",
    )
    return Section(title="Learning curves", blocks=(figure,))


def curves_table(runs: Runs, frontier: Frontier) -> pd.DataFrame:
    """Return Runs.epochs with label, architecture, seed, state and series (-1 if no trial of the architecture is compared)."""
    trials = runs.table()[["trial", "architecture", "seed", "state"]]
    table = runs.epochs().merge(trials, on="trial")
    table.insert(1, "label", [frontier.labels.get(digest, "") for digest in table["architecture"]])
    table["series"] = table["architecture"].map(frontier.series).fillna(-1).astype(int)
    return table
