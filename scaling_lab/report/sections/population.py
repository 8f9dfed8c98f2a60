"""The section Population: distributions of AP at matched cost, by a choice of the space or between spaces, and importance.

A point is an architecture with one training run. Results hold for the whole space only if architectures are random samples
of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scaling_lab.report.analysis.choice_importance import label_of, name_of, params_of, texts
from scaling_lab.report.analysis.distributions import Distributions, distributions, population_table
from scaling_lab.report.figures.population_figures import distribution_figure
from scaling_lab.report.page.blocks import Block, Bullets, Column, Figure, Section, Table, Text
from scaling_lab.report.sections.choices import importance_blocks, importance_of, most_important
from scaling_lab.report.tables import records
from scaling_lab.stats.matched_groups import LEAST_LEFT
from scaling_lab.text import identifier, listed, p_value, plural, signed, signed_interval, significant

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs

TITLE = "Population"
LEAST_EACH = 8  # architectures for each value
MOST_VALUES, MOST_NAMED = (
    6,
    8,
)  # values of a choice found by the rule, and of a named one (the number of colours)
MOST_CHOICES = 2
MOST_SENTENCES = 6
UNBIASED = ("grid", "random")


def population(runs: Runs, frontier: Frontier, *, by: str | None = None) -> Section:
    """Show distributions of AP over a space's architectures by its choices, at matched cost, and the choices' importance.

    At most two choices are shown: those with 2 to 6 values of 8 architectures each, texts before numbers, in the space's
    order. `by` names one choice instead, with up to 8 such values.
    """
    table = population_table(frontier)
    if table.empty:
        return Section(title=TITLE, blocks=(Text(text="No architecture has a complete trial.", tone="note"),))
    blocks: list[Block] = [Text(text=_population(table)), *_warnings(runs)]
    named = [by] if by is not None else shown_choices(table)
    if by is not None and f"param_{by}" not in table:
        known = listed([name_of(param) for param in params_of(table)])
        blocks.append(
            Text(text=f"The space has no choice {by!r} to group by; its choices are {known}.", tone="warning")
        )
        named = []
    elif not named:
        text = (
            f"No choice has 2 to {MOST_VALUES} values, two of them with {LEAST_EACH} architectures each, so no distributions are "
            "compared."
        )
        blocks.append(Text(text=text, tone="note"))
    for choice in named:
        blocks += _by_choice(table, choice)
    return Section(title=TITLE, blocks=(*blocks, *importance_blocks(table)))


def answer(runs: Runs, frontier: Frontier) -> str:
    """Answer in one sentence which choice explains most of AP, with cost removed if possible, or AP's distribution."""
    table = population_table(frontier)
    if table.empty:
        return "No architecture has a complete trial, so there is no population."
    found = importance_of(table)
    important = found and most_important(found)
    if important:
        return important
    low, middle, high = table["ap"].quantile([0.25, 0.5, 0.75])
    text = f"The median AP of {plural(len(table), 'architecture')} is {middle:.1f} (interquartile range {low:.1f}–{high:.1f})"
    return f"{text}; no choice explains more than chance." if found else f"{text}."


def compare_spaces(frontiers: Mapping[str, Frontier]) -> Section:
    """Compare the populations of several runs with different spaces, at matched cost and equal protocol and epochs."""
    title = "Spaces at matched cost"
    tables = {name: population_table(frontier) for name, frontier in frontiers.items()}
    tables = {name: table for name, table in tables.items() if len(table)}
    if len(tables) < 2:
        return Section(title=title, blocks=(Text(text="Fewer than two runs have complete trials.", tone="note"),))
    joined = pd.concat([table.assign(group=name) for name, table in tables.items()], ignore_index=True)
    if len(joined[["protocol", "epochs"]].drop_duplicates()) > 1:
        text = "The runs differ in protocol or epochs (data, recipe, length), so their architectures are not compared."
        return Section(title=title, blocks=(Text(text=text, tone="warning"),))
    twice = int(joined["architecture"].duplicated().sum())
    intro = "; ".join(f"{name}: {plural(len(table), 'architecture')}" for name, table in tables.items())
    intro += f". {plural(twice, 'architecture')} of several spaces count in each." if twice else "."
    return Section(title=title, blocks=(Text(text=intro), *_compared(joined, "space", "spaces")))


def shown_choices(table: pd.DataFrame) -> list[str]:
    """Return the choices to show by the rule: few values, enough architectures each, texts before numbers."""
    found = []
    for param in params_of(table):
        values = texts(table[param]).dropna()
        counts = values.value_counts()
        if 2 <= len(counts) <= MOST_VALUES and int((counts >= LEAST_EACH).sum()) >= 2:
            numbers = pd.api.types.is_numeric_dtype(table[param]) and not pd.api.types.is_bool_dtype(table[param])
            found.append((numbers, param.removeprefix("param_")))
    return [choice for _, choice in sorted(found, key=lambda each: each[0])][:MOST_CHOICES]


# --- words -----------------------------------------------------------------------------------------------------------


def sentence(row: Mapping[str, Any]) -> str:
    """Return a sentence on how two populations differ."""
    if np.isnan(row["p"]):
        return f"not compared: one has fewer than {LEAST_LEFT} at shared costs."
    interval = "" if np.isnan(row["low"]) else f" {signed_interval(row['low'], row['high'])}"
    return f"{signed(row['difference'])} AP{interval} at matched cost, {row['verdict']} (p {p_value(row['p_holm'])})."


def _population(table: pd.DataFrame) -> str:
    low, middle, high = table["ap"].quantile([0.25, 0.5, 0.75])
    count = plural(len(table), "architecture")
    if len(table) == 1:
        return f"{count}, with AP {middle:.1f}: no population."
    return (
        f"{count}, one training run each (lowest seed): median AP {middle:.1f}, interquartile range {low:.1f}–{high:.1f}. "
        "The spread includes that of the seeds."
    )


def _warnings(runs: Runs) -> list[Block]:
    """Warn of what makes the trained architectures a biased sample of the space."""
    trials = runs.table()
    searched = trials[trials["role"] == "search"]
    sampler, found = str(runs.meta.get("sampler", "grid")), []
    if sampler not in UNBIASED:
        found.append(
            f"The {sampler} sampler chose by earlier results, so these architectures are not a random sample of the space."
        )
    lost = {state: int((searched["state"] == state).sum()) for state in ("stopped", "failed")}
    if any(lost.values()):
        counts = listed([f"{number} {state}" for state, number in lost.items() if number])
        found.append(f"Trials without a final AP are missing ({counts}), probably the worse ones.")
    return [Text(text=" ".join(found), tone="warning")] if found else []


def _by_choice(table: pd.DataFrame, choice: str) -> list[Block]:
    values = texts(table[f"param_{choice}"])
    counts = values.value_counts()
    kept = sorted(counts[counts >= LEAST_EACH].index, key=lambda value: (-counts[value], value))[:MOST_NAMED]
    name = choice.replace("_", " ")
    if len(kept) < 2:
        text = f"{name.capitalize()}: fewer than two values have {LEAST_EACH} architectures, so nothing is compared."
        return [Text(text=text, tone="note")]
    labels = {value: label_of(value) for value in kept}
    grouped = table.assign(group=values.map(labels))
    return _compared(grouped[values.isin(kept)].reset_index(drop=True), name, f"values of {name}")


def _compared(table: pd.DataFrame, name: str, several: str) -> list[Block]:
    """Return the sentences, the figure and the table of a comparison of groups."""
    found = distributions(table)
    if found.pairs["p"].isna().all():
        text = f"No two {several} have {LEAST_LEFT} architectures or more at shared costs, so AP is not compared."
        return [Text(text=text, tone="note")]
    file = identifier(name).replace("-", "_")  # a parameter's name may contain a slash
    blocks: list[Block] = [_verdict(found, several)]
    if len(found.edf):
        blocks.append(
            Figure(
                name=f"distribution_of_ap_by_{file}",
                table=found.edf,
                draw=distribution_figure,
                title=f"AP by {name}, at matched cost",
                caption=_caption(table, found, several),
                alt=f"Cumulative distributions of AP for {listed(list(found.counts))}",
            )
        )
    return [*blocks, _pairs_table(found, file)]


def _caption(table: pd.DataFrame, found: Distributions, several: str) -> str:
    edf, bins = found.edf, int(found.edf["bin"].nunique())
    low, high = (significant(float(each)) for each in (edf["gmacs"].min(), edf["gmacs"].max()))
    left = listed([f"{name} {kept} of {all_of_it}" for name, (kept, all_of_it) in found.counts.items()])
    dropped = sorted(set(table["group"]) - set(found.counts))
    text = (
        f"Cumulative distributions; further right is better. Matched at {low} to {high} GMACs in {plural(bins, 'bin')} of equal "
        f"weight: {left}."
    )
    if dropped:
        text += f" Too few at shared costs: {listed(dropped)}."
    return text


def _verdict(found: Distributions, several: str) -> Block:
    pairs = found.pairs
    if len(pairs) <= MOST_SENTENCES:
        return Bullets(
            items=tuple((f"{row['first']} against {row['second']}:", sentence(row)) for row in records(pairs))
        )
    different = pairs[pairs["verdict"] == "significant"]
    text = f"{len(different)} of {plural(len(pairs), 'pair')} of {several} differ significantly at matched cost"
    widest = records(different.sort_values("difference", ascending=False, kind="stable"))[:1]
    return Text(
        text=text + ("".join(f"; most, {w['first']} against {w['second']}: {sentence(w)}" for w in widest) or ".")
    )


def _pairs_table(found: Distributions, file: str) -> Table:
    frame = found.pairs.copy()
    frame["interval"] = [signed_interval(row["low"], row["high"]) for row in records(frame)]
    frame["percent"] = 100 * frame["distance"]
    frame["p_text"] = [p_value(p) for p in frame["p_holm"]]
    frame["left"] = [f"{row['n_first']} and {row['n_second']}" for row in records(frame)]
    columns = (
        Column(key="first", label="First"),
        Column(key="second", label="Second"),
        Column(key="difference", label="ΔAP", digits=1, signed=True, help="first minus second, means at matched cost"),
        Column(key="interval", label="95 % interval", sort="low"),
        Column(
            key="percent", label="Distance, %", digits=0, help="largest, between the distributions (Kolmogorov–Smirnov)"
        ),
        Column(key="p_text", label="p", sort="p_holm"),
        Column(key="verdict", label="Verdict"),
        Column(key="left", label="Architectures", sort="n_first", help="of first and second, at shared costs"),
        Column(key="bins", label="Bins", digits=0, help="of cost"),
    )
    caption = (
        "Each pair is matched at all shared costs. ΔAP is adjusted for the slope of AP within bins of cost. p is twice the "
        "smaller of those of ΔAP (t-test) and of the distance (permutations within bins), Holm-corrected over pairs."
    )
    return Table(name=f"pairs_by_{file}", frame=frame, columns=columns, caption=caption)
