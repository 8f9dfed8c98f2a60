"""The paper's differences beside this run's: fast against softmax fusion, and backbone and feature network.

Table 6 compares the two fusions in three detectors; Table 4 changes the backbone, then the feature network. A run has such
a pair only if the two specs are otherwise equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from scaling_lab.architecture import DetectorSpec
from scaling_lab.report.analysis import published_tables, verdicts
from scaling_lab.report.analysis.factors import differing_factors
from scaling_lab.report.analysis.paper_steps import fusion_pairs, paper_fusions
from scaling_lab.report.page.blocks import Block, Bullets, Column, Table, Text
from scaling_lab.report.tables import has_values, records
from scaling_lab.stats import hypotheses, power
from scaling_lab.text import listed, plural, signed, signed_interval

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier

MOST_SENTENCES = 12
# The rows of Table 4 as (backbone, wiring), and its steps as (change, from row, to row).
TABLE_4 = {
    "resnet50 + fpn": ("resnet50", "fpn"),
    "efficientnet_b3 + fpn": ("efficientnet_b3", "fpn"),
    "efficientnet_b3 + bifpn": ("efficientnet_b3", "bifpn"),
}
STEPS = (
    ("backbone", "resnet50 + fpn", "efficientnet_b3 + fpn"),
    ("feature network", "efficientnet_b3 + fpn", "efficientnet_b3 + bifpn"),
)


# --- Table 6: fusion -------------------------------------------------------------------------------------------------


def fusion_blocks(frontier: Frontier, specs: Mapping[str, DetectorSpec]) -> list[Block]:
    """Show fast minus softmax of pairs that differ only in fusion beside the paper's three; nothing without a pair."""
    pairs = fusion_pairs(frontier, specs)
    if not pairs:
        return []
    ours = _differences(frontier, pairs)
    paper = paper_fusions()
    source = str(paper["source"].iloc[0])
    low, high = float(paper["difference"].min()), float(paper["difference"].max())
    least, most = float(paper["speedup"].min()), float(paper["speedup"].max())
    text = (
        f"{source}: fast minus softmax fusion is {_listed(paper['difference'])} AP in three detectors, and the fast "
        f"detectors run {least:.2f} to {most:.2f} times as fast. Here, for specs that differ only in fusion:"
    )
    sentences = [_sentence(row, low, high) for row in records(ours.head(MOST_SENTENCES))]
    frame = pd.concat([paper.assign(where="paper"), ours.assign(where="here")], ignore_index=True)
    frame["interval"] = [signed_interval(row["low"], row["high"]) for row in records(frame)]
    columns = [Column(key="where", label="Where"), Column(key="pair", label="Fast minus softmax")]
    columns += _difference_columns(ours)
    caption = (
        f"ΔAP is fast minus softmax. The paper's rows are {source}: on COCO, without intervals, not measured here."
    )
    if has_values(ours, "speedup"):
        caption += " Speed-up is softmax's latency over fast's at batch 1; the paper's is on another device."
    columns += [Column(key="speedup", label="Speed-up", digits=2, help="softmax's latency over fast's")]
    table = Table(name="fusion_beside_the_paper", frame=frame, columns=tuple(columns), caption=caption)
    return [Text(text=text), Bullets(items=tuple(("", sentence) for sentence in sentences)), table]


# --- Table 4: the backbone, then the feature network -----------------------------------------------------------------


def step_blocks(frontier: Frontier, specs: Mapping[str, DetectorSpec]) -> list[Block]:
    """Show the steps of Table 4 for which the run has both ends; nothing without any."""
    ends = _table_4_rows(frontier, specs)
    paper = {str(row["variant"]): row for row in records(published_tables.ablations()) if row["study"] == "disentangle"}
    steps = [step for step in STEPS if step[1] in ends and step[2] in ends]
    if not steps:
        return []
    source = str(paper[steps[0][1]]["source"])
    several = [row for row in TABLE_4 if len(ends.get(row, ())) > 1]
    if several:
        text = f"{source} has one detector for each row; this run has several of {listed(several)}, so they are not paired."
        return [Text(text=text, tone="note")]
    frame = _differences(frontier, [(ends[after][0], ends[before][0]) for _, before, after in steps])
    frame.insert(0, "step", [f"{what}: {before} to {after}" for what, before, after in steps])
    frame["difference_paper"] = [
        round(float(paper[after]["ap_val"]) - float(paper[before]["ap_val"]), 2) for _, before, after in steps
    ]
    frame["interval"] = [signed_interval(row["low"], row["high"]) for row in records(frame)]
    frame["factors"] = [
        ", ".join(differing_factors(specs[ends[after][0]], specs[ends[before][0]])) for _, before, after in steps
    ]
    columns = (
        Column(key="step", label="Step"),
        Column(key="difference_paper", label="ΔAP, paper", digits=1, signed=True),
        *_difference_columns(frame, label="ΔAP, here"),
        Column(key="factors", label="Differs here in"),
    )
    caption = f"The steps of {source}: on COCO, at its own sizes, without intervals, not measured here."
    return [Table(name="steps_beside_the_paper", frame=frame, columns=columns, caption=caption)]


def _table_4_rows(frontier: Frontier, specs: Mapping[str, DetectorSpec]) -> dict[str, list[str]]:
    """Return the compared architectures that match each row of Table 4."""
    found: dict[str, list[str]] = {}
    for digest in frontier.architectures["architecture"]:
        spec = specs[digest]
        backbone = spec.backbone.partition(".")[0].removeprefix(
            "tf_"
        )  # without timm's tag and its prefix for TensorFlow's weights
        for row, (name, topology) in TABLE_4.items():
            if backbone == name and not spec.backbone_options and spec.topology.published_name == topology:
                found.setdefault(row, []).append(str(digest))
    return found


# --- both ------------------------------------------------------------------------------------------------------------


def _differences(frontier: Frontier, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Compare pairs of architectures (first minus second), with Holm's correction over the pairs."""
    values = frontier.aps
    latencies = dict(zip(frontier.architectures["architecture"], frontier.architectures["latency_ms"], strict=True))
    rows = []
    for first, second in pairs:
        result = hypotheses.welch(values[first], values[second])
        n, n_second = len(values[first]), len(values[second])
        rows.append(
            {"pair": f"{frontier.labels[first]} against {frontier.labels[second]}", "n": n, "n_second": n_second}
            | {"difference": result.difference, "low": result.low, "high": result.high, "p": result.p}
            | {"detectable": power.smallest_detectable(frontier.sd, n, n_second)}
            | {"speedup": float(latencies[second]) / float(latencies[first])}
        )
    table = pd.DataFrame(rows)
    table["p_holm"] = hypotheses.holm([float(p) for p in table["p"]])
    return table


def _sentence(row: dict[str, Any], low: float, high: float) -> str:
    """Return a sentence on a difference here, and whether the paper's (low to high) are inside its interval."""
    seeds = plural(row["n"], "seed")
    seeds = seeds if row["n"] == row["n_second"] else f"{row['n']} and {plural(row['n_second'], 'seed')}"
    beginning = f"{row['pair']}: {signed(row['difference'])} AP"
    if math.isnan(row["p"]):
        return f"{beginning}, {seeds}: not tested."
    verdict = verdicts.verdict(row["p_holm"])
    inside = [row["low"] <= each <= row["high"] for each in (low, high)]
    where = "inside" if all(inside) else "partly inside" if any(inside) or low < row["low"] <= high else "outside"
    return f"{beginning} {signed_interval(row['low'], row['high'])}, {seeds}: {verdict}; the paper's are {where}."


def _difference_columns(frame: pd.DataFrame, label: str = "ΔAP") -> list[Column]:
    columns = [Column(key="difference", label=label, digits=2, signed=True)]
    if has_values(frame, "low"):
        columns += [Column(key="interval", label="95 % interval", sort="low")]
    return [*columns, Column(key="n", label="Seeds", digits=0)]


def _listed(values: pd.Series[float]) -> str:
    return listed([f"{value:+.2f}".replace("-", "−") for value in values])
