"""The section Finalists: the best of a search trained again with fresh seeds, which did not select them.

The AP that selected them is shown beside the AP of the fresh seeds; no mean mixes the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from scaling_lab.report.analysis.baseline import find_baseline
from scaling_lab.report.analysis.frontier import Frontier
from scaling_lab.report.analysis.shrinkage import shrinkage
from scaling_lab.report.page.blocks import Block, Bullets, Column, Section, Table, Text, metric_column
from scaling_lab.report.sections import ablation, conclusion_words
from scaling_lab.report.tables import has_values, mean, records
from scaling_lab.text import interval, plural, signed

if TYPE_CHECKING:
    from scaling_lab.runs.reader import Runs

TITLE = "Finalists"


def finalists(runs: Runs, frontier: Frontier) -> Section:
    """Show the finalists by their fresh seeds, and the selection bias of the search."""
    wanted = runs.meta.get("finalists")
    if not wanted and frontier.finalists.empty:
        return Section(title=TITLE, blocks=())
    fresh = frontier.fresh
    if fresh.trials.empty:
        text = "No finalist has a complete trial yet; they are trained once the search has ended."
        return Section(title=TITLE, blocks=(Text(text=text, tone="note"),))
    table = shrinkage(fresh, frontier)
    return Section(
        title=TITLE, blocks=(Bullets(items=_sentences(fresh, table)), _table(table), *_differences(runs, fresh))
    )


def _sentences(fresh: Frontier, table: pd.DataFrame) -> tuple[tuple[str, str], ...]:
    found = [conclusion_words.best_of_fresh(table)]
    if fresh.degrees > 0 and (table["n"] > 1).sum() > 1:
        found += conclusion_words.told_apart(fresh)
    chosen = table[(table["role"] == "finalist") & table["shrinkage"].notna()]
    if len(chosen):
        found.append(_curse(chosen))
    return tuple(found)


def _curse(chosen: pd.DataFrame) -> tuple[str, str]:
    """Return the selection bias of the finalists' APs."""
    before, after = mean(chosen["ap_search"]), mean(chosen["ap_mean"])
    count = plural(len(chosen), "finalist")
    text = f"{before:.1f} AP in the search, {after:.1f} with fresh seeds ({signed(after - before)}), mean of {count}."
    return "Selection bias:", text


def _table(table: pd.DataFrame) -> Table:
    frame = table.copy()
    frame["interval"] = [interval(row["ap_low"], row["ap_high"]) for row in records(frame)]
    frame["change"] = -frame["shrinkage"]
    frame["chosen"] = ["baseline" if role == "baseline" else "" for role in frame["role"]]
    columns = [
        Column(key="label", label="Architecture", swatch="series"),
        Column(key="ap_mean", label="AP, fresh seeds", digits=1, help="COCO AP, 0–100, mean over fresh seeds"),
    ]
    if has_values(frame, "ap_low"):
        columns += [Column(key="interval", label="95 % interval", sort="ap_low")]
    columns += [
        Column(key="n", label="Fresh seeds", digits=0),
        Column(key="ap_search", label="AP, search", digits=1, help="mean of the trials that selected it"),
        Column(key="change", label="Change", digits=1, signed=True, help="fresh seeds minus search"),
        metric_column("gmacs"),
    ]
    columns += [Column(key="chosen", label="")] if (frame["role"] == "baseline").any() else []
    caption = "Trained again after the search with fresh seeds, none stopped early."
    return Table(name="finalists", frame=frame, columns=tuple(columns), caption=caption)


def _differences(runs: Runs, fresh: Frontier) -> list[Block]:
    """Compare the finalists with the baseline if it has fresh seeds too."""
    baseline, _ = find_baseline(runs, fresh)
    if baseline is None or len(fresh.architectures) < 2:
        return []
    sentences = ablation.compare(fresh, baseline, runs.specs())["sentence"]
    return [
        Text(text="Against the baseline, fresh seeds on both sides:"),
        Bullets(items=tuple(("", s) for s in sentences)),
    ]
