"""Numbers from papers, shipped as CSV with their sources. Nothing here was measured by this package."""

from __future__ import annotations

from importlib import resources

import pandas as pd

# Our topology and fusion names beside the rows of arXiv:1911.09070v7, Table 5. The table's BiFPN rows differ in fusion;
# all other rows there use sum.
TABLE_5 = {
    ("FPN", ""): "Repeated FPN",
    ("PANet", ""): "Repeated FPN + PANet",
    ("NAS-FPN", ""): "NAS-FPN",
    ("Fully connected FPN", ""): "Fully-connected FPN",
    ("BiFPN", "sum"): "BiFPN without weights",
    ("BiFPN", "fast"): "BiFPN with weights",
}
COST_ONE = "Repeated FPN"  # the row to which the table's costs are relative


def detectors() -> pd.DataFrame:
    """Load published detectors on COCO: AP, parameters, GMACs, latency, source."""
    return _load("published_detectors")


def feature_networks() -> pd.DataFrame:
    """Load the published comparison of feature networks: AP, cost relative to the repeated FPN, source."""
    return _load("published_feature_networks")


def ablations() -> pd.DataFrame:
    """Load published ablations: of parts, of fusion, of schedules and of scale jitter, with sources."""
    return _load("published_ablations")


def table_5_row(topology: str, fusion: str) -> str | None:
    """Give the row of Table 5 for a topology as names.topology_name spells it, or None where the paper has none."""
    return TABLE_5.get((topology, fusion)) or TABLE_5.get((topology, ""))


def _load(name: str) -> pd.DataFrame:
    path = resources.files("scaling_lab.report") / "published" / f"{name}.csv"
    with path.open(encoding="utf-8") as file:
        return pd.read_csv(file)
