"""The choices of a space as a report names them, and which of them explain AP: importance with and without cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from scaling_lab.report.analysis.names import SPELLINGS
from scaling_lab.report.figures.population_figures import importance_figure
from scaling_lab.report.page.blocks import Block, Bullets, Column, Figure, Table, Text
from scaling_lab.report.tables import records
from scaling_lab.stats import variance_shares
from scaling_lab.stats.variance_shares import Array
from scaling_lab.text import listed, plural

LEAST_ARCHITECTURES = 20
MOST_BARS = 12
MOST_GROUPS = 6  # a number with more values is cut
CUTS = 5
RARE = 4  # values with fewer architectures are one group


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How much of AP's variance each choice explains.

    `table` has a row for each choice, the largest share first: choice, n, groups, share, low, high of AP, and rest, rest_low,
    rest_high of what a parabola in log GMACs leaves of AP; all are fractions. `chance` and `rest_chance` are what the best
    choice shows by chance (95 % quantile), `cost` is the share of that parabola.
    """

    table: pd.DataFrame
    chance: float
    rest_chance: float
    cost: float


# --- names -----------------------------------------------------------------------------------------------------------


def params_of(table: pd.DataFrame) -> list[str]:
    """Give the columns of the space's parameters that take two values or more, in the space's order."""
    return [str(name) for name in table.columns if str(name).startswith("param_") and table[name].nunique() > 1]


def name_of(param: str) -> str:
    """Name a parameter's column in words."""
    return param.removeprefix("param_").replace("_", " ")


def texts(values: pd.Series[Any]) -> pd.Series[Any]:
    """Write values as text, whole numbers without a point; what an architecture has no choice of stays missing."""
    return values.map(lambda value: f"{value:g}" if isinstance(value, float) else str(value), na_action="ignore")


def label_of(value: str) -> str:
    """Spell a value as the paper does where it is a feature network's name."""
    return SPELLINGS.get(value, value.replace("_", " "))


# --- importance ------------------------------------------------------------------------------------------------------


def grouped(values: pd.Series[Any]) -> Array:
    """Give the group (N,) of each value from 0 up, -1 where there is none.

    A number with more than MOST_GROUPS values is cut at its quintiles; rare values of anything else are one group.
    """
    present = values.dropna().infer_objects()
    numbers = pd.api.types.is_numeric_dtype(present) and not pd.api.types.is_bool_dtype(present)
    codes_N, distinct = pd.factorize(
        values.astype(float) if numbers else values.map(str, na_action="ignore"), sort=True
    )
    if numbers and len(distinct) > MOST_GROUPS:
        codes_N = pd.qcut(values.astype(float), CUTS, labels=False, duplicates="drop").fillna(-1).to_numpy(dtype=int)
    counts = np.bincount(codes_N[codes_N >= 0], minlength=1)
    rare_N = (codes_N >= 0) & (counts[codes_N] < RARE)
    found_N = np.where(rare_N, len(counts), codes_N)
    kept = [group for group in range(len(counts) + 1) if (found_N == group).sum() >= RARE]
    places = {group: place for place, group in enumerate(kept)}
    return np.array([places.get(int(group), -1) for group in found_N], dtype=int)


def choice_importance(table: pd.DataFrame) -> Importance:
    """Compute how much of AP's variance each choice of the space explains (table: ap, gmacs, param_*)."""
    params = params_of(table)
    groups = {param: grouped(table[param]) for param in params}
    aps = table["ap"].to_numpy(dtype=float)
    rest, cost = variance_shares.without_cost(aps, np.log(table["gmacs"].to_numpy(dtype=float)))
    whole, chance = variance_shares.shares(aps, groups)
    left, rest_chance = variance_shares.shares(rest, groups)
    rows = []
    for param in params:
        of_all, of_rest = whole[param], left[param]
        row: dict[str, Any] = {"choice": name_of(param), "n": of_all.n, "groups": of_all.groups}
        row |= {"share": of_all.value, "low": of_all.low, "high": of_all.high}
        rows.append(row | {"rest": of_rest.value, "rest_low": of_rest.low, "rest_high": of_rest.high})
    columns = ["choice", "n", "groups", "share", "low", "high", "rest", "rest_low", "rest_high"]
    found = pd.DataFrame(rows, columns=columns).sort_values("share", ascending=False, kind="stable")
    return Importance(table=found.reset_index(drop=True), chance=chance, rest_chance=rest_chance, cost=cost)


def importance_blocks(table: pd.DataFrame) -> list[Block]:
    """Show which choices explain AP, before and after cost is taken out."""
    if not params_of(table):
        return []
    if len(table) < LEAST_ARCHITECTURES or table["ap"].max() - table["ap"].min() < 1e-9:
        why = (
            "all have the same AP"
            if len(table) >= LEAST_ARCHITECTURES
            else f"allowed are {LEAST_ARCHITECTURES} and more"
        )
        text = f"Which choice matters is not computed from {plural(len(table), 'architecture')}: {why}."
        return [Text(text=text, tone="note")]
    found = choice_importance(table)
    shown = found.table[found.table["share"].notna()].head(MOST_BARS)
    if shown.empty:
        return [Text(text="No choice has two values with enough architectures to say which matters.", tone="note")]
    lines = {"chance": found.chance, "rest_chance": found.rest_chance}
    figure = Figure(
        name="importance",
        table=shown.assign(**lines),
        draw=importance_figure,
        title="Which choice explains AP?",
        caption=_caption(found, len(shown)),
        alt="The share of the variance of AP that each choice explains, before and after cost is taken out",
    )
    return [Bullets(items=tuple(_sentences(found))), figure, _table(found)]


def _sentences(found: Importance) -> list[tuple[str, str]]:
    table = found.table
    sentences = [
        ("Cost.", f"GMACs alone explain {100 * found.cost:.0f} % of the variance of AP over the architectures."),
        ("Explains AP:", _told(table, "share", "low", "high", found.chance)),
    ]
    if not math.isnan(found.rest_chance):
        told = _told(table, "rest", "rest_low", "rest_high", found.rest_chance)
        sentences.append(("Explains AP once cost is taken out:", told))
    return sentences


def _told(table: pd.DataFrame, share: str, low: str, high: str, chance: float) -> str:
    above = table[table[share] > chance].sort_values(share, ascending=False, kind="stable")
    if above.empty:
        return f"no choice more than the best of {len(table)} would by chance ({100 * chance:.0f} %)."
    named = listed([f"{row['choice']} {_percent(row, share, low, high)}" for row in records(above)])
    others = len(table) - len(above)
    return f"{named}; {f'{others} more ' + ('is' if others == 1 else 'are') if others else 'none is'} within chance."


def _percent(row: dict[str, Any], share: str, low: str, high: str) -> str:
    bounds = (100 * min(1.0, max(0.0, row[low])), 100 * min(1.0, max(0.0, row[high])))
    return f"{100 * max(0.0, row[share]):.0f} % [{bounds[0]:.0f}, {bounds[1]:.0f}]"


def _caption(found: Importance, shown: int) -> str:
    text = (
        "The share of the variance of AP that a choice explains alone, with its 95 % interval over architectures. Above the "
        "dashed line is what the best of all choices has by chance in one of twenty runs. Cost is taken out by a parabola in "
        "log GMACs; a choice is then given only what cost cannot explain. Numbers with many values are cut at their quintiles."
    )
    more = len(found.table) - shown
    return text + (f" {plural(more, 'choice')} with less or too few architectures: in the table." if more else "")


def _table(found: Importance) -> Table:
    frame = found.table.copy()
    frame["interval"] = [
        "–" if math.isnan(row["low"]) else _percent(row, "share", "low", "high") for row in records(frame)
    ]
    frame["rest_interval"] = [
        "–" if math.isnan(row["rest_low"]) else _percent(row, "rest", "rest_low", "rest_high") for row in records(frame)
    ]
    columns = (
        Column(key="choice", label="Choice"),
        Column(key="interval", label="Of AP's variance", sort="share", help="with its 95 % interval"),
        Column(
            key="rest_interval",
            label="Cost taken out",
            sort="rest",
            help="of the variance that a parabola in log GMACs leaves",
        ),
        Column(key="groups", label="Groups", digits=0),
        Column(key="n", label="Architectures", digits=0, help="that have this choice"),
    )
    caption = (
        f"By chance the best has up to {100 * found.chance:.0f} % of AP's variance"
        + ("" if math.isnan(found.rest_chance) else f", and {100 * found.rest_chance:.0f} % of what cost leaves")
        + " (95 % of exchanges). Shares are corrected for the number of groups, so one without effect may be below 0."
    )
    return Table(name="importance_of_choices", frame=frame, columns=columns, caption=caption)
