"""The section Beside the paper: this run's order of feature networks and the paper's. It measures nothing itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from scaling_lab.report import published, statistics, words
from scaling_lab.report.baseline import find_baseline
from scaling_lab.report.blocks import Column, Section, Table, Text
from scaling_lab.report.names import topology_fusion, topology_name
from scaling_lab.report.tables import has_values, records

if TYPE_CHECKING:
    from scaling_lab.report.frontier import Frontier
    from scaling_lab.runs import Runs

MOST_EXACT = 7  # 7! orders are enumerated for the p of Kendall's tau


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
