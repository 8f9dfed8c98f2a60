"""The architectures of a run that the paper has too, with the paper's AP."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from scaling_lab.report.analysis import published_tables
from scaling_lab.report.analysis.architecture_names import topology_fusion, topology_name
from scaling_lab.report.analysis.factors import differing_factors
from scaling_lab.report.tables import records
from scaling_lab.stats import posterior_fronts, ranks

if TYPE_CHECKING:
    from scaling_lab.architecture import DetectorSpec
    from scaling_lab.report.analysis.frontier import Frontier


def published_table(frontier: Frontier, baseline: str | None, specs: Mapping[str, DetectorSpec]) -> pd.DataFrame:
    """Pair architectures with the rows of the paper's Table 5."""
    paper = {row.pop("feature_network"): row for row in records(published_tables.feature_networks())}
    rows = []
    for row in records(frontier.architectures):
        topology = specs[row["architecture"]].topology
        name = published_tables.table_5_row(topology_name(topology), topology_fusion(topology))
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
    fpn = table.loc[table["feature_network"] == published_tables.COST_ONE, "gmacs_feature_network"]
    table["gmacs_ratio_here"] = table["gmacs_feature_network"] / fpn.iloc[0] if len(fpn) else math.nan
    return table.sort_values("ap_val", ascending=False, kind="stable").reset_index(drop=True)


def agreement_with_paper(frontier: Frontier, table: pd.DataFrame) -> tuple[float, posterior_fronts.Range]:
    """Return tau-b between this run's APs and the paper's (rows of published_table), with its posterior range."""
    theirs = [float(value) for value in table["ap_val"]]
    tau = ranks.tau([float(value) for value in table["ap_mean"]], theirs)
    draws = ranks.taus_with(frontier.means_of(table["architecture"].tolist()), theirs)
    return tau, posterior_fronts.Range.of(draws)


def other_factors(specs: Mapping[str, DetectorSpec], digests: Sequence[str]) -> list[str]:
    """Return the factors other than topology and fusion that differ between architectures; in the paper none does."""
    first = specs[digests[0]]
    found = {name for digest in digests[1:] for name in differing_factors(specs[digest], first)}
    return sorted(found - {"topology", "fusion"})
