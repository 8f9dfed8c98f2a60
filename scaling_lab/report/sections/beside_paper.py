"""The section Beside the paper: the ranking of feature networks in this run and in the paper, and their agreement.

paper_differences.py compares fusions and backbone steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from scaling_lab.report.analysis import published_tables
from scaling_lab.report.analysis.baseline import find_baseline
from scaling_lab.report.analysis.paper_order import agreement_with_paper, other_factors, published_table
from scaling_lab.report.page.blocks import Block, Column, Section, Table, Text
from scaling_lab.report.sections import paper_differences
from scaling_lab.report.tables import has_values
from scaling_lab.stats import ranks
from scaling_lab.text import listed, number, plural

if TYPE_CHECKING:
    from scaling_lab.architecture import DetectorSpec
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs

TITLE = "Beside the paper"
MOST_EXACT = 7  # 7! orders are enumerated for the p of Kendall's tau


def beside_the_paper(runs: Runs, frontier: Frontier) -> Section:
    """Show the paper's comparisons of feature networks, fusions and steps beside the same ones of this run."""
    if frontier.trials.empty:
        return Section(title=TITLE, blocks=())
    specs = runs.specs()
    more = [*paper_differences.fusion_blocks(frontier, specs), *paper_differences.step_blocks(frontier, specs)]
    return Section(title=TITLE, blocks=(*_feature_networks(runs, frontier, specs), *more))


def _feature_networks(runs: Runs, frontier: Frontier, specs: Mapping[str, DetectorSpec]) -> list[Block]:
    """Return Table 5 beside this run's means, and the rank agreement."""
    baseline, _ = find_baseline(runs, frontier)
    table = published_table(frontier, baseline, specs)
    source = str(published_tables.feature_networks()["source"].iloc[0])
    if table.empty:
        return [Text(text=f"None of the architectures trained here is a row of {source}.")]
    if table["feature_network"].duplicated().any():
        text = f"{source} has one detector for each feature network; this run has several, so they cannot be paired."
        return [Text(text=text)]
    unequal = other_factors(specs, table["architecture"].tolist())
    note = f"Here they differ in {listed(unequal)} too, so the ranking is not due to feature networks only."
    return [
        _table_5(table, source, "" if baseline is None else str(frontier.labels[baseline])),
        Text(text=agreement(frontier, table)),
        *((Text(text=note, tone="note"),) if unequal else ()),
    ]


def _table_5(table: pd.DataFrame, source: str, baseline: str) -> Table:
    columns = [
        Column(key="label", label="Architecture", swatch="series"),
        Column(key="feature_network", label="In the paper"),
        Column(key="ap_val", label="AP, paper", digits=2),
        Column(key="ap_mean", label="AP, here", digits=1),
    ]
    caption = ""
    if has_values(table, "difference_here"):
        caption = f"ΔAP is the difference to {baseline}. "
        columns += [
            Column(key="difference_paper", label="ΔAP, paper", digits=2, signed=True),
            Column(key="difference_here", label="ΔAP, here", digits=1, signed=True),
        ]
    columns += [Column(key="gmacs_ratio", label="Cost, paper", digits=2)]
    caption += (
        f"The paper's numbers are {source}: COCO val, full-length training. They were not measured here. APs "
        "are not comparable between the two; the ranking and the sign of differences are."
    )
    if has_values(table, "gmacs_ratio_here"):
        columns += [Column(key="gmacs_ratio_here", label="Cost, here", digits=2)]
        caption += " Cost: multiply-adds relative to FPN, in the paper as printed there, here of the feature network."
    return Table(name="beside_the_paper", frame=table, columns=tuple(columns), caption=caption)


def agreement(frontier: Frontier, table: pd.DataFrame) -> str:
    """Return a sentence on the rank agreement of this run's feature networks with the paper's, with its interval.

    The interval is over posterior samples of this run's means; the paper's numbers are fixed. The prior is the same for all
    orders, so with much seed noise the interval is centred on 0 and excludes full agreement too often. (Five networks 0.3 AP
    apart, seed SD 0.8, three seeds: 62 of 100 intervals include it; from 1 AP apart, 99 do.) The expected agreement of two
    repeats of this run shows when that is so.
    """
    n = len(table)
    if n < 3:
        return f"{plural(n, 'pair')} of results: too few for a rank correlation."
    ours, theirs = [float(value) for value in table["ap_mean"]], [float(value) for value in table["ap_val"]]
    tau, drawn = agreement_with_paper(frontier, table)
    if math.isnan(tau):
        return f"All {n} feature networks have the same AP here, so there is no ranking to compare with the paper's."
    text = f"Rank agreement with the paper: Kendall's tau-b {tau:+.2f}".replace("-0", "−0").replace("-1", "−1")
    if frontier.degrees > 0:
        text += f" [{number(drawn.low, 2)}, {number(drawn.high, 2)}] over {n} feature networks (95 % interval"
        text += ", posterior)"
        ceiling = ranks.noise_ceiling(ours, [frontier.sd / math.sqrt(count) for count in table["n"]])
        text += f"; two repeats of this run would agree by {number(ceiling, 2)}" if not math.isnan(ceiling) else ""
    else:
        text += f" over {n} feature networks, without an interval: one seed each, not tested"
    if n <= MOST_EXACT:
        p = ranks.permutation_p(ours, theirs)
        text += f"; by chance {100 * p:.0f} % of all orders agree or disagree as strongly"
    return text + "."
