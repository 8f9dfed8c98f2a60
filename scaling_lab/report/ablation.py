"""Architectures against a named baseline: differences, intervals, tests, and the same differences in the paper.

It computes and words them; figures.py draws. Needs a run whose study names a baseline.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from scaling_lab.report import figures, published, statistics, words
from scaling_lab.report.baseline import find_baseline
from scaling_lab.report.blocks import Block, Bullets, Column, Figure, Section, Table, Text
from scaling_lab.report.frontier import SMALL_N
from scaling_lab.report.names import topology_fusion, topology_name
from scaling_lab.report.tables import has_values, records

if TYPE_CHECKING:
    from scaling_lab.report.frontier import Frontier
    from scaling_lab.runs import Runs

LEVEL = 0.05
MOST_EXACT = 7  # 7! orders are enumerated for the p of Kendall's tau


def ablation(runs: Runs, frontier: Frontier) -> Section:
    """Compare every architecture with the study's baseline."""
    baseline, why_not = find_baseline(runs, frontier)
    if frontier.trials.empty:
        return Section(title="Against the baseline", blocks=())
    if baseline is None:
        return Section(title="Against the baseline", blocks=(Text(text=why_not, tone="warning"),))
    differences = compare(frontier, baseline)
    name = str(frontier.labels[baseline])
    if differences.empty:
        text = f"{name} is the baseline, and no other architecture has a complete trial to compare with it."
        return Section(title="Against the baseline", blocks=(Text(text=text, tone="note"),))
    blocks: list[Block] = [_verdict(differences)]
    if differences["p"].notna().any():
        blocks += [Bullets(items=tuple(("", text) for text in differences["sentence"]))]
    blocks += [_figure(differences, name), _table(differences, name)]
    return Section(title="Against the baseline", blocks=tuple(blocks))


def compare(frontier: Frontier, baseline: str) -> pd.DataFrame:
    """Compare each other architecture with the baseline: Welch's interval and p, Holm's correction, what could show.

    Columns: label, n, difference, low, high, p, p_holm, detectable, needed (seeds a side), gmacs_ratio, verdict,
    sentence.
    """
    table = frontier.architectures.set_index("architecture")
    values = {str(digest): list(group["ap"]) for digest, group in frontier.trials.groupby("architecture")}
    rows = []
    for row in records(table.drop(index=baseline).reset_index()):
        digest = row["architecture"]
        result = statistics.welch(values[digest], values[baseline])
        n, n_base = len(values[digest]), len(values[baseline])
        detectable = statistics.smallest_detectable(frontier.sd, n, n_base)
        needed = statistics.seeds_needed(result.difference, frontier.sd) if not math.isnan(detectable) else None
        rows.append(
            {"architecture": digest, "label": row["label"], "series": row["series"], "n": n, "n_baseline": n_base}
            | {"difference": result.difference, "low": result.low, "high": result.high, "p": result.p}
            | {"detectable": detectable, "needed": needed}
            | {"gmacs_ratio": row["gmacs"] / table.loc[baseline, "gmacs"], "gmacs": row["gmacs"]}
        )
    differences = pd.DataFrame(rows)
    if differences.empty:
        return differences
    differences["p_holm"] = statistics.holm([float(p) for p in differences["p"]])
    differences["verdict"] = [_verdict_of(p) for p in differences["p_holm"]]
    name = str(table.loc[baseline, "label"])
    differences["sentence"] = [sentence(row, name) for row in records(differences)]
    return differences


def _verdict_of(p: float) -> str:
    return "no claim" if math.isnan(p) else "distinguishable" if p < LEVEL else "not distinguishable"


def sentence(row: dict[str, Any], baseline: str) -> str:
    """Say a comparison in one sentence."""
    beginning = f"{row['label']} against {baseline}: {words.signed(row['difference'])} AP"
    n, n_base = int(row["n"]), int(row["n_baseline"])
    seeds = words.plural(n, "seed") if n == n_base else f"{n} and {words.plural(n_base, 'seed')}"
    if row["verdict"] == "no claim":
        return f"{beginning}, {seeds}: no claim."
    text = f"{beginning} [{words.signed(row['low'])}, {words.signed(row['high'])}], {seeds}: {row['verdict']}"
    if row["verdict"] == "not distinguishable":
        if row["low"] > 0 or row["high"] < 0:
            text += f" once corrected for being one of several comparisons (p {row['p_holm']:.2f})"
        needed = row["needed"]
        if pd.isna(needed):
            text += "; no affordable number of seeds would tell"
        elif int(needed) > max(n, n_base):
            text += f"; about {int(needed)} seeds a side would be needed if this difference is real"
    return text + "."


def _verdict(differences: pd.DataFrame) -> Text:
    if (differences["verdict"] == "no claim").all():
        return Text(
            text="These are differences between trained models, not between architectures: with one seed on a side no "
            "difference can be claimed.",
            tone="warning",
        )
    told = int((differences["verdict"] == "distinguishable").sum())
    return Text(text=f"{told} of {words.plural(len(differences), 'difference')} can be told from chance.")


def _figure(differences: pd.DataFrame, baseline: str) -> Figure:
    intervals = bool(differences["low"].notna().any())
    caption = (
        "Bars are 95 % intervals of the difference (Welch), before correction for being many; "
        "the table has the corrected p."
        if intervals
        else "Hollow marks: one seed on a side, no interval."
    )
    least = differences[["n", "n_baseline"]].min(axis=1)
    if intervals and ((least > 1) & (least <= SMALL_N) & (differences["n"] != differences["n_baseline"])).any():
        caption += (
            " With two or three seeds against more, such an interval holds the true difference in about nine of ten."
        )
    return Figure(
        name="difference_to_baseline",
        table=differences.drop(columns="sentence"),
        draw=functools.partial(figures.difference_figure, baseline=baseline),
        title=f"Difference in AP to {baseline}",
        caption=caption,
        alt=f"Differences in AP to {baseline}",
    )


def _interval(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"[{words.signed(low)}, {words.signed(high)}]"


def _table(differences: pd.DataFrame, baseline: str) -> Table:
    """Give the table of differences, with columns for what was tested where anything was."""
    frame = differences.copy()
    frame["interval"] = [_interval(low, high) for low, high in zip(frame["low"], frame["high"], strict=True)]
    frame["p"] = ["< 0.001" if p < 0.001 else "–" if math.isnan(p) else f"{p:.3f}" for p in frame["p_holm"]]
    frame["cost"] = 100.0 * (frame["gmacs_ratio"] - 1.0)
    tested = bool(frame["p_holm"].notna().any())
    columns = [
        Column(key="label", label="Architecture", swatch="series"),
        Column(key="difference", label="ΔAP", digits=1, signed=True),
    ]
    if tested:
        columns += [
            Column(key="interval", label="95 % interval", sort="low"),
            Column(key="p", label="p", sort="p_holm"),
            Column(key="detectable", label="Detectable", digits=1, help="smallest difference that these seeds show"),
        ]
    columns += [
        Column(key="n", label="Seeds", digits=0),
        Column(key="cost", label="ΔGMACs, %", digits=0, signed=True),
    ]
    columns += [Column(key="verdict", label="Verdict")] if tested else []
    caption = f"Δ is the difference to {baseline}, which has {words.plural(int(frame['n_baseline'].iloc[0]), 'seed')}."
    if tested:
        caption += (
            " p: Welch's t-test with Holm's correction for being one of several. Detectable: the smallest true "
            "difference that one t-test with these seeds, supposing equal spreads, finds four times in five (5 %, two-sided, "
            "SD pooled over architectures); Welch's, which does not suppose them, needs more, by 15 % at three seeds a side."
        )
    return Table(name="differences", frame=frame, columns=tuple(columns), caption=caption)


# --- beside the paper ------------------------------------------------------------------------------------------------


def beside_the_paper(runs: Runs, frontier: Frontier) -> Section:
    """Show the paper's comparison of feature networks beside this run's, and how far their orders agree."""
    baseline, _ = find_baseline(runs, frontier)
    if frontier.trials.empty:
        return Section(title="Beside the paper", blocks=())
    table = published_table(runs, frontier, baseline)
    source = str(published.feature_networks()["source"].iloc[0])
    if table.empty:
        text = f"None of the architectures trained here is a row of {source}."
        return Section(title="Beside the paper", blocks=(Text(text=text),))
    if table["feature_network"].duplicated().any():
        text = f"{source} has one detector for each feature network; this run has several, so they cannot be paired."
        return Section(title="Beside the paper", blocks=(Text(text=text),))
    columns = [
        Column(key="label", label="Architecture", swatch="series"),
        Column(key="feature_network", label="In the paper"),
        Column(key="ap_val", label="AP, paper", digits=2),
        Column(key="ap_mean", label="AP, here", digits=1),
    ]
    caption = ""
    if has_values(table, "difference_here"):
        caption = f"ΔAP is the difference to {frontier.labels[str(baseline)]}. "
        columns += [
            Column(key="difference_paper", label="ΔAP, paper", digits=2, signed=True),
            Column(key="difference_here", label="ΔAP, here", digits=1, signed=True),
        ]
    columns += [Column(key="gmacs_ratio", label="Cost, paper", digits=2)]
    caption += (
        f"The paper's numbers are {source}: COCO val, full-length training. They were not measured here, and the APs "
        "of the two sides do not compare; only the order and the sign of differences do."
    )
    if has_values(table, "gmacs_ratio_here"):
        columns += [Column(key="gmacs_ratio_here", label="Cost, here", digits=2)]
        caption += " Cost: multiply-adds relative to FPN, in the paper as printed there, here of the feature network."
    return Section(
        title="Beside the paper",
        blocks=(
            Table(name="beside_the_paper", frame=table, columns=tuple(columns), caption=caption),
            Text(text=agreement(table)),
        ),
    )


def published_table(runs: Runs, frontier: Frontier, baseline: str | None) -> pd.DataFrame:
    """Pair architectures with the rows of the paper's Table 5."""
    paper = {row.pop("feature_network"): row for row in records(published.feature_networks())}
    specs = runs.specs()
    rows = []
    for row in records(frontier.architectures):
        topology = specs[row["architecture"]].topology
        name = published.table_5_row(topology_name(topology), topology_fusion(topology))
        if name is not None:
            ours = {key: row[key] for key in ("architecture", "label", "series", "n", "ap_mean")}
            cost = {"gmacs_feature_network": row.get("gmacs_feature_network", math.nan)}
            rows.append({**ours, **cost, "feature_network": name, **paper[name]})
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    for column, value in (("difference_here", "ap_mean"), ("difference_paper", "ap_val")):
        base = table.loc[table["architecture"] == baseline, value]
        table[column] = table[value] - base.iloc[0] if len(base) else math.nan
    fpn = table.loc[table["feature_network"] == published.COST_ONE, "gmacs_feature_network"]
    table["gmacs_ratio_here"] = table["gmacs_feature_network"] / fpn.iloc[0] if len(fpn) else math.nan
    return table.sort_values("ap_val", ascending=False, kind="stable").reset_index(drop=True)


def agreement(table: pd.DataFrame) -> str:
    """Say how far this run's order of feature networks agrees with the paper's."""
    n = len(table)
    if n < 3:
        return f"{words.plural(n, 'pair')} of results: too few to speak of an order."
    ours, theirs = [float(value) for value in table["ap_mean"]], [float(value) for value in table["ap_val"]]
    tau = statistics.kendall_tau_b(ours, theirs)
    text = f"Rank agreement with the paper: Kendall's tau-b {tau:+.2f} over {n} feature networks".replace("-0", "−0")
    text += ", with one seed here" if int(table["n"].min()) == 1 else ""
    if n <= MOST_EXACT:
        p = statistics.kendall_exact_p(ours, theirs)
        text += f"; by chance {100 * p:.0f} % of all orders agree or disagree as strongly"
    return text + "."
