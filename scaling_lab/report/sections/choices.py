"""The importance of the choices of a space: which explain AP, with and without cost."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from scaling_lab.report.analysis.choice_importance import Importance, choice_importance, params_of
from scaling_lab.report.figures.population_figures import importance_figure
from scaling_lab.report.page.blocks import Block, Bullets, Column, Figure, Table, Text
from scaling_lab.report.tables import records
from scaling_lab.text import listed, plural

LEAST_ARCHITECTURES = 20
MOST_BARS = 8


def importance_of(table: pd.DataFrame) -> Importance | None:
    """Return the importance of each choice; None with too few architectures or equal APs."""
    if not params_of(table) or len(table) < LEAST_ARCHITECTURES or table["ap"].max() - table["ap"].min() < 1e-9:
        return None
    found = choice_importance(table)
    return found if found.table["share"].notna().any() else None


def most_important(found: Importance) -> str:
    """Return a sentence on the most important choice, with cost removed if possible; "" if all are within chance."""
    share, chance = ("share", found.chance) if math.isnan(found.rest_chance) else ("rest", found.rest_chance)
    low, high = ("low", "high") if share == "share" else ("rest_low", "rest_high")
    above = found.table[found.table[share] > chance].sort_values(share, ascending=False, kind="stable")
    if above.empty:
        return ""
    row = records(above)[0]
    what = "of AP's variance" if share == "share" else "of the AP variance left after removing cost"
    return f"{row['choice'].capitalize()} explains most {what}: {_percent(row, share, low, high)}, 95 % CI in brackets."


def importance_blocks(table: pd.DataFrame) -> list[Block]:
    """Show which choices explain AP, before and after removing cost."""
    if not params_of(table):
        return []
    if len(table) < LEAST_ARCHITECTURES or table["ap"].max() - table["ap"].min() < 1e-9:
        why = (
            "all have the same AP" if len(table) >= LEAST_ARCHITECTURES else f"it needs at least {LEAST_ARCHITECTURES}"
        )
        text = f"The importance of choices is not computed from {plural(len(table), 'architecture')}: {why}."
        return [Text(text=text, tone="note")]
    found = choice_importance(table)
    shown = found.table[found.table["share"].notna()].head(MOST_BARS)
    if shown.empty:
        return [Text(text="No choice has two values with enough architectures to compute its importance.", tone="note")]
    lines = {"chance": found.chance, "rest_chance": found.rest_chance}
    figure = Figure(
        name="importance",
        table=shown.assign(**lines),
        draw=importance_figure,
        title="Which choice explains AP?",
        caption=_caption(found, len(shown)),
        alt="Share of the variance of AP explained by each choice, before and after removing cost",
    )
    return [Bullets(items=tuple(_sentences(found))), figure, _table(found)]


def _sentences(found: Importance) -> list[tuple[str, str]]:
    sentences = [("GMACs alone explain", f"{100 * found.cost:.0f} % of the variance of AP.")]
    sentences += _above_chance(found.table, "Explains AP:", "share", "low", "high", found.chance)
    if not math.isnan(found.rest_chance):
        sentences += _above_chance(
            found.table, "Explains AP at equal cost:", "rest", "rest_low", "rest_high", found.rest_chance
        )
    return sentences


def _above_chance(
    table: pd.DataFrame, lead: str, share: str, low: str, high: str, chance: float
) -> list[tuple[str, str]]:
    above = table[table[share] > chance].sort_values(share, ascending=False, kind="stable")
    if above.empty:
        return [(lead, f"no choice more than chance ({100 * chance:.0f} % for the best of {len(table)}).")]
    named = listed([f"{row['choice']} {_percent(row, share, low, high)}" for row in records(above)], most=3)
    return [(lead, f"{named}; {len(table) - len(above)} of {len(table)} choices are within chance.")]


def _percent(row: dict[str, Any], share: str, low: str, high: str) -> str:
    bounds = (100 * min(1.0, max(0.0, row[low])), 100 * min(1.0, max(0.0, row[high])))
    return f"{100 * max(0.0, row[share]):.0f} % [{bounds[0]:.0f}, {bounds[1]:.0f}]"


def _caption(found: Importance, shown: int) -> str:
    text = (
        "Share of the variance of AP that each choice alone explains, with 95 % intervals over architectures. The dashed line "
        "is the 95 % quantile of the best choice by chance. Cost is removed by a parabola in log GMACs. Numbers are cut at "
        "quintiles."
    )
    more = len(found.table) - shown
    return text + (f" {plural(more, 'choice')} more in the table." if more else "")


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
            label="Cost removed",
            sort="rest",
            help="of the variance that a parabola in log GMACs leaves",
        ),
        Column(key="groups", label="Groups", digits=0),
        Column(key="n", label="Architectures", digits=0, help="with this choice"),
    )
    caption = (
        f"By chance the best choice explains up to {100 * found.chance:.0f} % of AP's variance"
        + (
            ""
            if math.isnan(found.rest_chance)
            else f", and {100 * found.rest_chance:.0f} % of the rest after removing cost"
        )
        + " (95 % of permutations). Shares are corrected for the number of groups and may be negative."
    )
    return Table(name="importance_of_choices", frame=frame, columns=columns, caption=caption)
