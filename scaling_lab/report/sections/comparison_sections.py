"""The sections of a report on several runs, each a function from a Comparison to a Section."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pandas as pd

from scaling_lab.report.analysis.comparability import RULE
from scaling_lab.report.analysis.comparison import Comparison, Side
from scaling_lab.report.analysis.search_progress import progress
from scaling_lab.report.figures.search_figure import search_figure
from scaling_lab.report.page.blocks import (
    Block,
    Bullets,
    Column,
    Details,
    Figure,
    Section,
    Table,
    Text,
    metric_column,
    renamed,
)
from scaling_lab.report.sections import comparison_words, conclusion_words, population, provenance
from scaling_lab.report.tables import has_values, records
from scaling_lab.text import interval, listed, p_value, plainly, significant

SETTINGS = {
    "study": "Study",
    "form": "Form",
    "space": "Search space",
    "sampler": "Sampler",
    "warm_start": "Warm start",
    "objectives": "Objectives",
    "limits": "Limits",
    "seeds": "Seeds",
    "planned_trials": "Planned trials",
    "stopping": "Early stopping",
    "finalists": "Finalists",
    "latency_model_digest": "Latency model",
}


def title(comparison: Comparison) -> str:
    """Return the page's title from the names of its runs."""
    return f"{listed([side.name for side in comparison.sides])} compared"


def spaces(comparison: Comparison) -> Section:
    """Compare the distributions of AP in the runs' search spaces at matched cost, if the spaces differ."""
    if len({str(side.runs.meta.get("space")) for side in comparison.sides}) < 2:
        return Section(title="Spaces at matched cost", blocks=())
    found = population.compare_spaces({side.name: side.frontier for side in comparison.sides})
    led = [side.name for side in comparison.sides if side.runs.meta.get("sampler") not in ("grid", "random")]
    if not led or len(found.blocks) < 2:
        return found
    text = (
        f"The samplers of {listed(led)} chose architectures by earlier results, so these are not random samples "
        "of the space."
    )
    return dataclasses.replace(found, blocks=(Text(text=text, tone="warning"), *found.blocks))


def question(comparison: Comparison) -> str:
    """Return the common question of all runs, or each run's own."""
    asked = {side.name: str(side.runs.meta.get("question", "")) for side in comparison.sides}
    if len(set(asked.values())) == 1:
        return next(iter(asked.values()))
    return " ".join(f"{name}: {text}" for name, text in asked.items() if text)


def answer(comparison: Comparison) -> str:
    """Answer in one sentence which front is higher."""
    return comparison_words.answer(comparison)


def limits(comparison: Comparison) -> Section:
    """Show what limits the answer, and why runs are not compared."""
    refused = (Text(text=text, tone="warning") for text in comparison_words.refusals(comparison))
    said = Bullets(items=comparison_words.limits(comparison))
    return Section(title="Limits", blocks=(*refused, said, Text(text=RULE, tone="note")))


# --- the runs --------------------------------------------------------------------------------------------------------


def setting(comparison: Comparison) -> Section:
    """Show the runs side by side, and the differences in their settings."""
    frame = pd.DataFrame([_run_row(side) for side in comparison.sides])
    table = Table(
        name="runs",
        frame=frame,
        columns=(
            Column(key="run", label="Run", swatch="series"),
            Column(key="sampler", label="Sampler"),
            Column(key="trials", label="Trials", digits=0),
            Column(key="complete", label="Complete", digits=0),
            Column(key="failures", label="Failed"),
            Column(key="architectures", label="Architectures", digits=0),
            Column(key="seeds", label="Seeds each"),
            Column(key="hours", label="Hours of trials", digits=2, significant=True),
            Column(key="device", label="Trained on"),
        ),
    )
    changes = differences(comparison)
    text = "The runs differ only in their results, as far as recorded."
    blocks: tuple[Block, ...] = (table, Text(text=text, tone="note"))
    if len(changes):
        columns = [Column(key="what", label="What differs")]
        columns += [Column(key=f"run_{side.series + 1}", label=side.name) for side in comparison.sides]
        caption = "Differences besides the results. APs remain comparable, but these may explain why they differ."
        blocks = (table, Table(name="what_differs", frame=changes, columns=tuple(columns), caption=caption))
    return Section(title="The runs", blocks=blocks)


def _run_row(side: Side) -> dict[str, Any]:
    trials, table = side.trials, side.frontier.architectures
    row: dict[str, Any] = {"run": side.name, "series": side.series, "sampler": str(side.runs.meta.get("sampler") or "")}
    row |= {"trials": len(trials), "complete": int((trials["state"] == "complete").sum())}
    row |= {"failures": provenance.failure_counts(trials) or "none", "architectures": len(table)}
    row |= {
        "seeds": conclusion_words.seed_counts(table) if len(table) else "",
        "hours": float(trials["seconds"].sum()) / 3600,
    }
    return row | {"device": provenance.trained_on(trials)}


def differences(comparison: Comparison) -> pd.DataFrame:
    """Return a row for each setting, device, commit or version that differs: what, and a column for each run (run_1, …)."""
    by_run = {f"run_{side.series + 1}": _settings(side) for side in comparison.sides}
    names = list(dict.fromkeys(name for values in by_run.values() for name in values))
    rows = []
    for name in names:
        values = {run: settings.get(name, "not recorded") for run, settings in by_run.items()}
        if len(set(values.values())) > 1:
            rows.append({"what": name, **values})
    return pd.DataFrame(rows, columns=["what", *by_run])


def _settings(side: Side) -> dict[str, str]:
    runs = side.runs
    found = {label: plainly(runs.meta.get(name)) for name, label in SETTINGS.items() if name in runs.meta}
    found.setdefault(SETTINGS["warm_start"], "none")
    found["Trained on"] = provenance.trained_on(side.trials)
    sessions = records(runs.sessions())
    if sessions:
        found["Commit"] = provenance.commit(sessions[-1])
        found |= {f"Version of {name}": str(value) for name, value in sessions[-1]["versions"].items()}
    return found


# --- the best for a cost, the same architectures, the search ---------------------------------------------------------


def best_by_cost(comparison: Comparison) -> Section:
    """Show each run's best architecture in common bands of cost."""
    table = comparison.best_by_cost()
    if table.empty:
        return Section(title="Best by cost", blocks=())
    table["interval"] = [interval(row["ap_low"], row["ap_high"]) for row in records(table)]
    table["between"] = [_between(*band) for band in table["band"]]
    table["probability"] = [comparison_words.probability(chance) for chance in table["chance"]]
    columns = [
        Column(key="between", label="GMACs", sort="up_to"),
        Column(key="run", label="Run", swatch="series"),
        Column(key="label", label="Best architecture"),
        metric_column("gmacs", label="Its GMACs"),
        Column(key="ap_mean", label="AP", digits=1),
    ]
    columns += [Column(key="interval", label="95 % interval", sort="ap_low")] if has_values(table, "ap_low") else []
    columns += [Column(key="n", label="Seeds", digits=0), Column(key="architectures", label="Of", digits=0)]
    caption = "The best of each run in each band of cost. It is selected by these seeds, so its AP is biased high."
    if has_values(table, "chance"):
        help_text = "posterior probability that this run has the best architecture of the band"
        columns += [Column(key="probability", label="P(best)", sort="chance", help=help_text)]
        caption += " P(best): posterior probability that this run has the best of the band."
    frame = table.drop(columns="band")
    return Section(
        title="Best by cost",
        blocks=(Table(name="best_by_cost", frame=frame, columns=tuple(columns), caption=caption),),
    )


def _between(low: float, high: float) -> str:
    return f"up to {significant(high)}" if low == 0 else f"{significant(low)} to {significant(high)}"


def same_architectures(comparison: Comparison) -> Section:
    """Show whether the APs of architectures that several runs trained agree."""
    name, table = "Same architectures", comparison.repeats.copy()
    if table.empty:
        if not len(comparison.points()):
            return Section(title=name, blocks=())
        text = "No architecture was trained in two of the runs, so reproducibility is not tested."
        return Section(title=name, blocks=(Text(text=text, tone="note"),))
    sentences = [comparison_words.agreement(table), comparison_words.detectable(comparison, table)]
    sentences += comparison_words.same_seed_sentences(comparison) + comparison_words.offset_sentences(table)
    table["interval"] = [interval(row["low"], row["high"]) for row in records(table)]
    table["p_text"] = [p_value(p) for p in table["p_holm"]]
    pairs = table.drop_duplicates(["first", "other"])
    first, other = (pairs["first"].iloc[0], pairs["other"].iloc[0]) if len(pairs) == 1 else ("first run", "other run")
    columns = [Column(key="label", label="Architecture")]
    if len(pairs) > 1:
        columns += [Column(key="first", label="First run"), Column(key="other", label="Other run")]
    columns += [
        Column(key="ap_first", label=f"AP, {first}", digits=1),
        Column(key="n_first", label="Seeds", digits=0),
        Column(key="ap_other", label=f"AP, {other}", digits=1),
        Column(key="n_other", label="Seeds", digits=0),
        Column(key="difference", label="Difference", digits=1, signed=True),
    ]
    if has_values(table, "p"):
        columns += [
            Column(key="interval", label="95 % interval", sort="low", help="Welch's, before correction"),
            Column(key="p_text", label="p", sort="p_holm", help="Welch's t-test, Holm's correction over the table"),
        ]
    columns += [Column(key="verdict", label="Verdict")]
    caption = "Equal architecture and protocol: a difference is chance or something that the protocol does not record."
    blocks = (
        Bullets(items=tuple(("", text) for text in sentences if text)),
        Table(name="same_architectures", frame=table, columns=tuple(columns), caption=caption),
    )
    return Section(title=name, blocks=blocks)


def search(comparison: Comparison) -> Section:
    """Show the progress of the searches on common axes, if their objectives are equal."""
    sides = [side for side in comparison.sides if side.runs.meta.get("sampler", "grid") != "grid"]
    if not sides:
        return Section(title="Search", blocks=())
    named = {side.name: side.runs for side in comparison.sides}
    unlike = [
        word
        for word, key in (("objectives", "objectives"), ("protocols of the search", "protocol"))
        if len({json.dumps(runs.meta.get(key), sort_keys=True) for runs in named.values()}) > 1
    ]
    if unlike or any("protocol" not in runs.meta for runs in named.values()):
        text = f"The progress of the searches is not compared: their {listed(unlike or ['protocols'])} differ."
        return Section(title="Search", blocks=(Text(text=text, tone="note"),))
    table = progress(named)
    if table.empty:
        return Section(title="Search", blocks=())
    table["series"] = table["sampler"].map({side.name: side.series for side in comparison.sides})
    what = table["quality"].iloc[0]
    caption = f"{what}, by ended trials of the search and by their total time."
    spaces = {json.dumps([runs.meta.get("space"), runs.meta.get("limits")], sort_keys=True) for runs in named.values()}
    caption += (
        " One search of each does not show which sampler is better."
        if len(spaces) == 1
        else " Their search spaces or limits differ, so this does not compare samplers alone."
    )
    alt = f"{what} by trials and by hours of {listed(list(named))}"
    figure = Figure(name="search_progress", table=table, draw=search_figure, title="Progress", caption=caption, alt=alt)
    return Section(title="Search", blocks=(figure,))


# --- provenance ------------------------------------------------------------------------------------------------------


def provenances(comparison: Comparison) -> Section:
    """Show the provenance of each run."""
    found = []
    for side in comparison.sides:
        section = provenance.provenance(side.runs)
        blocks = tuple(renamed(block, str(side.series + 1)) for block in section.blocks)
        found.append(Details(title=side.name, blocks=blocks))
    return Section(title="Provenance", blocks=tuple(found))
