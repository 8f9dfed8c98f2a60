"""The section Fronts of a report on several runs: AP against each comparable cost, and hypervolumes."""

from __future__ import annotations

import functools

import pandas as pd

from scaling_lab.report.analysis.comparison import Comparison
from scaling_lab.report.figures.comparison_figure import fronts_figure
from scaling_lab.report.page.blocks import Block, Bullets, Column, Figure, Section, Table, Text
from scaling_lab.report.sections import comparison_words
from scaling_lab.report.sections.latency_words import condition_words, not_quiet, quick_caution
from scaling_lab.report.tables import has_values, records
from scaling_lab.runs.latencies import CONDITIONS
from scaling_lab.stats.fronts import pareto_front
from scaling_lab.text import interval, listed, significant


def fronts(comparison: Comparison) -> Section:
    """Show the fronts of all runs for each comparable cost, and their hypervolumes."""
    if not len(comparison.points()):
        return Section(title="Fronts", blocks=(Text(text="No run has a complete trial yet, so there is no front."),))
    band = comparison.band()
    caption = (
        "Lines are the runs' Pareto fronts of the means; small marks are architectures below them, hollow ones have one "
        "seed. "
    )
    if len(band):
        caption += "Bands are 90 % posterior intervals of the true fronts; means are shrunk towards a curve of AP over log cost. "
    gmacs = _front_figure(comparison, "gmacs", caption, title="AP against multiply-adds", band=band)
    params = _front_figure(comparison, "params_m", "Marks as above.", title="AP against parameters")
    return Section(
        title="Fronts",
        blocks=(
            Bullets(items=comparison_words.best_of_each(comparison)),
            *gmacs,
            *_volumes(comparison),
            *_predicted(comparison),
            *_latencies(comparison),
            *params,
        ),
    )


def _front_figure(
    comparison: Comparison, cost: str, caption: str, *, title: str, band: pd.DataFrame | None = None
) -> list[Figure]:
    points = comparison.points(cost)
    if points.empty:
        return []
    names = listed(list(dict.fromkeys(points["run"])))
    draw = functools.partial(fronts_figure, cost=cost, band=band)
    name = f"fronts_{cost}"
    return [Figure(name=name, table=points, draw=draw, title=title, caption=caption, alt=f"{title}: fronts of {names}")]


def _volumes(comparison: Comparison) -> list[Block]:
    volumes, apart = comparison.volumes.copy(), comparison.volume_differences
    cost, ap = comparison.reference
    claimed = bool(volumes["median"].notna().any())
    columns = [
        Column(key="run", label="Run", swatch="series"),
        Column(key="architectures", label="Architectures", digits=0),
        Column(key="value", label="Hypervolume of the means", digits=1, help="AP times halvings of cost"),
    ]
    caption = (
        f"Hypervolume of each front, in AP times halvings of cost, with one reference point for all: "
        f"{significant(cost)} GMACs (twice the highest cost of all runs) and {ap:.0f} AP."
    )
    if claimed:
        volumes["interval"] = [interval(row["low"], row["high"]) for row in records(volumes)]
        columns += [
            Column(key="median", label="Posterior median", digits=1),
            Column(key="interval", label="95 % interval", sort="low"),
        ]
        caption += " The posterior shrinks each mean towards its run's trend over cost, against selection bias."
    several = "Intervals of differences between fronts are Bonferroni-corrected."
    note = [Text(text=several, tone="note")] if claimed and len(apart) else []
    return [Table(name="hypervolumes", frame=volumes, columns=tuple(columns), caption=caption), *note]


def _predicted(comparison: Comparison) -> list[Block]:
    """Show predicted latencies if one model predicted those of all runs."""
    cost = "predicted_latency_ms"
    if not has_values(comparison.points(cost), cost):
        return []
    models = {side.runs.meta.get("latency_model_digest") for side in comparison.sides}
    if len(models) > 1:
        text = "Predicted latencies are not compared: different models predicted them."
        return [Text(text=text, tone="note")]
    caption = f"Predicted by one model ({next(iter(models))}), not measured. Marks as above."
    return [*_front_figure(comparison, cost, caption, title="AP against predicted latency")]


def _latencies(comparison: Comparison) -> list[Block]:
    """Show measured latencies, a figure for each condition that several runs share, and list other conditions."""
    measured = _measured(comparison)
    if measured.empty:
        return [Text(text="Latency was not measured in these runs.", tone="note")]
    found: list[Block] = []
    alone: list[str] = []
    for _, group in measured.groupby([*CONDITIONS, "method"], sort=False):
        runs = list(dict.fromkeys(group["run"]))
        if len(runs) == 1:
            alone.append(f"{condition_words(group.iloc[0])} ({runs[0]})")
        else:
            found.append(_latency_figure(comparison, group, len(found)))
    if alone:
        text = f"Latencies measured in one run only are not compared: {'; '.join(alone)}."
        found.append(Text(text=text, tone="note"))
    return found


def _measured(comparison: Comparison) -> pd.DataFrame:
    found = []
    for side in comparison.sides:
        table = side.runs.latencies()
        digests = set(side.frontier.architectures["architecture"])
        found.append(table[table["architecture"].isin(digests)].assign(run=side.name))
    found = [each for each in found if len(each)]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _latency_figure(comparison: Comparison, group: pd.DataFrame, index: int) -> Figure:
    condition, batch = condition_words(group.iloc[0]), group["batch"].iloc[0]
    latencies = group[["run", "architecture", "median_ms"]].rename(columns={"median_ms": "latency_ms"})
    points = comparison.points().drop(columns="gmacs").merge(latencies, on=["run", "architecture"])
    points["on_front"] = False
    caution = quick_caution(group, comparison.sides[0].runs.meta)
    for _, rows in points.groupby("run") if not caution else ():
        points.loc[rows.index, "on_front"] = pareto_front(rows["latency_ms"].tolist(), rows["ap_mean"].tolist())
    draw = functools.partial(fronts_figure, cost="latency_ms", name=f"latency, ms per batch of {batch}")
    return Figure(
        name="fronts_latency" if index == 0 else f"fronts_latency_{index + 1}",
        table=points,
        draw=draw,
        title="AP against latency",
        caption=f"Measured in each run on {condition}: the median.{caution}{not_quiet(group)} Marks as above. Architectures "
        "not measured under this condition are not shown.",
        alt=f"AP against latency on {condition}: fronts of {listed(list(dict.fromkeys(points['run'])))}",
    )
