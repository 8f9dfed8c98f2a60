"""The differences reported in the paper's Tables 4 and 6."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

import pandas as pd

from scaling_lab.architecture import DetectorSpec
from scaling_lab.report.analysis import published_tables
from scaling_lab.report.analysis.architecture_names import topology_fusion
from scaling_lab.report.analysis.factors import wiring
from scaling_lab.report.tables import records

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier


def fusion_pairs(frontier: Frontier, specs: Mapping[str, DetectorSpec]) -> list[tuple[str, str]]:
    """Return pairs (fast, softmax): digests of architectures whose specs differ only in the fusion of all nodes."""
    groups: dict[Hashable, dict[str, str]] = {}
    for digest in frontier.architectures["architecture"]:
        fusion = topology_fusion(specs[digest].topology)
        if fusion in ("fast", "softmax"):
            groups.setdefault(_all_but_fusion(specs[digest]), {})[fusion] = str(digest)
    return [(group["fast"], group["softmax"]) for group in groups.values() if len(group) == 2]


def _all_but_fusion(spec: DetectorSpec) -> Hashable:
    values = [getattr(spec, field.name) for field in fields(spec) if field.name not in ("topology", "backbone_options")]
    return (wiring(spec.topology), json.dumps(dict(spec.backbone_options), sort_keys=True), *values)


def paper_fusions() -> pd.DataFrame:
    """Return the paper's Table 6 as differences: pair, difference (fast minus softmax), speedup, source."""
    table = published_tables.ablations()
    rows = []
    for study, group in table[table["study"].str.startswith("fusion ")].groupby("study", sort=True):
        by_fusion = {str(row["variant"]): row for row in records(group)}
        difference = float(by_fusion["fast"]["ap_val"]) - float(by_fusion["softmax"]["ap_val"])
        row = {
            "pair": str(study).removeprefix("fusion "),
            "difference": round(difference, 2),
            "source": group["source"].iloc[0],
        }
        rows.append({**row, "speedup": float(by_fusion["fast"]["speedup"]), "low": math.nan, "high": math.nan})
    return pd.DataFrame(rows)
