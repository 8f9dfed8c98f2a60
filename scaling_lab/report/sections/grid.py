"""A grid over one parameter, such as the width factor: AP by value, and each value's probability of being the best.

The paper's choice is shown beside it. A value's AP is the mean over all scales (phi) with equal weight.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from scaling_lab.report.analysis.grid_values import (
    CREDIBLE,
    best_values,
    by_value,
    chances_without_far_below,
    grid_table,
    likeliest,
)
from scaling_lab.report.figures.grid_figures import best_figure, grid_figure
from scaling_lab.report.page.blocks import Block, Bullets, Column, Figure, Section, Table, Text, metric_column
from scaling_lab.report.tables import records
from scaling_lab.text import interval, listed, plural

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs


def grid(runs: Runs, frontier: Frontier, parameter: str, *, paper: float | None = None, scale: str = "phi") -> Section:
    """Compare the values of a numeric parameter of the space; `paper` is the published choice, `scale` the other parameter."""
    name = parameter.replace("_", " ")
    title = f"Which {name}?"
    table = grid_table(frontier, parameter, scale=scale)
    if table["value"].nunique() < 2:
        text = f"The run has no two values of {name} with complete trials, so there is nothing to compare."
        return Section(title=title, blocks=(Text(text=text, tone="note"),))
    chances = best_values(frontier, table)
    without = chances_without_far_below(frontier, parameter, scale=scale)
    items = [*_sentences(table, chances, name, paper), *_without_outliers(frontier, without)]
    blocks: list[Block] = [Bullets(items=tuple(items))]
    blocks.append(
        Figure(
            name=f"ap_by_{parameter}",
            table=table,
            draw=functools.partial(grid_figure, name=name, scale=scale, paper=paper),
            title=f"AP by {name}",
            caption=_caption(table, scale, paper),
            alt=f"AP and GMACs of each {name}",
        )
    )
    if len(chances):
        blocks.append(
            Figure(
                name=f"best_{parameter}",
                table=chances,
                draw=functools.partial(best_figure, name=name, paper=paper),
                title=f"Which {name} is the best?",
                caption="Posterior probability of the highest mean AP"
                + (" over the scales" if table["scale"].nunique() > 1 else "")
                + "; cost is not considered.",
                alt=f"Posterior probability of each {name} of being the best",
            )
        )
    return Section(title=title, blocks=(*blocks, _table(table, parameter, name, scale)))


def answer(runs: Runs, frontier: Frontier, parameter: str, *, scale: str = "phi") -> str:
    """Answer in one sentence which value of a parameter has the highest mean AP, and its probability of being the best."""
    name = parameter.replace("_", " ")
    table = grid_table(frontier, parameter, scale=scale)
    if table["value"].nunique() < 2:
        return f"No two values of {name} have complete trials, so there is nothing to compare."
    means = table.groupby("value")["ap_mean"].mean()
    best = float(str(means.idxmax()))
    chances = by_value(best_values(frontier, table))
    text = f"{name.capitalize()} {best:g} has the highest mean AP, {means.max():.1f}"
    if not chances:
        return f"{text}; without repeated seeds at every value its lead cannot be tested."
    return f"{text}; the probability that it is the best value is {chances[best]:.2f}."


def _sentences(table: pd.DataFrame, chances: pd.DataFrame, name: str, paper: float | None) -> list[tuple[str, str]]:
    means = table.groupby("value")["ap_mean"].mean()
    found = [
        (
            "Range of mean AP:",
            f"{means.min():.1f} ({name} {means.idxmin():g}) to {means.max():.1f} ({means.idxmax():g}).",
        )
    ]
    if chances.empty:
        return [*found, ("Not tested.", "The spread between seeds is not known at every value.")]
    values = likeliest(by_value(chances))
    if len(values) > 1:
        text = f"the best value is one of {listed([f'{v:g}' for v in values])}"
    else:
        text = f"the best value is {values[0]:g}"
    found.append((f"With {100 * CREDIBLE:.0f} % posterior probability", f"{text}."))
    if paper is not None:
        chance = by_value(chances).get(paper)
        here = f"; here its probability of being the best is {chance:.2f}" if chance is not None else ""
        found.append((f"The paper chose {paper:g}", f"on COCO and reports no AP for other values{here}."))
    return found


def _without_outliers(frontier: Frontier, chances: Mapping[float, float]) -> list[tuple[str, str]]:
    if not chances:
        return []
    best = max(chances, key=lambda value: chances[value])
    count = plural(int(frontier.far_below[1].sum()), "outlier")
    return [(f"Without the {count}", f"{best:g} is the best value with probability {chances[best]:.2f}.")]


def _caption(table: pd.DataFrame, scale: str, paper: float | None) -> str:
    intervals = "Bars are 95 % intervals of the mean, dots single seeds. " if table["ap_low"].notna().any() else ""
    lines = f"A line for each {scale}. " if table["scale"].nunique() > 1 else ""
    marked = f"The dashed line marks the paper's choice, {paper:g}. " if paper is not None else ""
    return f"{lines}{intervals}{marked}Below: the cost of each value."


def _table(table: pd.DataFrame, parameter: str, name: str, scale: str) -> Table:
    frame = table.drop(columns="aps")
    frame["interval"] = [interval(row["ap_low"], row["ap_high"]) for row in records(frame)]
    digits = 0 if (frame["value"] % 1 == 0).all() else 2
    columns = [Column(key="value", label=name.capitalize(), digits=digits)]
    if frame["scale"].nunique() > 1:
        columns.append(Column(key="scale", label=scale, digits=1))
    columns += [
        Column(key="ap_mean", label="AP", digits=1),
        Column(key="interval", label="95 % interval", sort="ap_low"),
        Column(key="n", label="Seeds", digits=0),
        metric_column("gmacs"),
        metric_column("params_m"),
    ]
    return Table(name=f"by_{parameter}", frame=frame, columns=tuple(columns))
