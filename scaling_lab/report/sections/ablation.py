"""The section Against the baseline: each architecture's difference in AP from the study's baseline, with tests."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from scaling_lab.report.analysis import verdicts
from scaling_lab.report.analysis.baseline import find_baseline
from scaling_lab.report.analysis.factors import differing_factors
from scaling_lab.report.analysis.frontier import SMALL_N
from scaling_lab.report.figures import cost_figures
from scaling_lab.report.page.blocks import Block, Bullets, Column, Figure, Section, Table, Text
from scaling_lab.report.tables import records
from scaling_lab.stats import hypotheses, power
from scaling_lab.text import listed, p_value, plural, signed, signed_interval, significant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scaling_lab.architecture import DetectorSpec
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs

MATCHED_COST = 0.05  # costs are matched up to this share of the baseline's GMACs
MOST_SHOWN = 40  # comparisons in sentences and figure; the table has all


def ablation(runs: Runs, frontier: Frontier) -> Section:
    """Compare every architecture with the study's baseline."""
    baseline, why_not = find_baseline(runs, frontier)
    if frontier.trials.empty:
        return Section(title="Against the baseline", blocks=())
    if baseline is None:
        return Section(title="Against the baseline", blocks=(Text(text=why_not, tone="warning"),))
    differences = compare(frontier, baseline, runs.specs())
    name = str(frontier.labels[baseline])
    if differences.empty:
        text = f"{name} is the baseline, and no other architecture has a complete trial to compare with it."
        return Section(title="Against the baseline", blocks=(Text(text=text, tone="note"),))
    blocks: list[Block] = [_verdict(differences), fairness(differences, name)]
    if differences["p"].notna().any():
        blocks += [Bullets(items=tuple(("", text) for text in differences["sentence"].head(MOST_SHOWN)))]
    blocks += [_figure(differences, name), _table(differences, name)]
    return Section(title="Against the baseline", blocks=tuple(blocks))


def compare(frontier: Frontier, baseline: str, specs: Mapping[str, DetectorSpec]) -> pd.DataFrame:
    """Compare each other architecture with the baseline by Welch's test with Holm's correction.

    Columns: label, n, difference, low, high, p, p_holm, detectable (smallest difference), needed (seeds a side),
    gmacs_ratio, matched (whether that is within MATCHED_COST of 1), factors (that differ, with commas) and their number,
    verdict, sentence.
    """
    table = frontier.architectures.set_index("architecture")
    values = frontier.aps
    gmacs = float(table["gmacs"].loc[baseline])
    rows = []
    for row in records(table.drop(index=baseline).reset_index()):
        digest = row["architecture"]
        result = hypotheses.welch(values[digest], values[baseline])
        n, n_base = len(values[digest]), len(values[baseline])
        detectable = power.smallest_detectable(frontier.sd, n, n_base)
        needed = power.seeds_needed(result.difference, frontier.sd) if not math.isnan(detectable) else None
        rows.append(
            {"architecture": digest, "label": row["label"], "series": row["series"], "n": n, "n_baseline": n_base}
            | {"difference": result.difference, "low": result.low, "high": result.high, "p": result.p}
            | {"detectable": detectable, "needed": needed}
            | _cost(float(row["gmacs"]), gmacs)
            | _factors(specs[digest], specs[baseline])
        )
    differences = pd.DataFrame(rows)
    if differences.empty:
        return differences
    differences["p_holm"] = hypotheses.holm([float(p) for p in differences["p"]])
    differences["verdict"] = [verdicts.verdict(p) for p in differences["p_holm"]]
    name = str(table.loc[baseline, "label"])
    differences["sentence"] = [sentence(row, name) for row in records(differences)]
    return differences


def _cost(gmacs: float, of_baseline: float) -> dict[str, Any]:
    ratio = gmacs / of_baseline if of_baseline > 0 else math.nan
    return {"gmacs_ratio": ratio, "gmacs": gmacs, "matched": abs(ratio - 1.0) <= MATCHED_COST + 1e-9}


def _factors(spec: DetectorSpec, of_baseline: DetectorSpec) -> dict[str, Any]:
    names = differing_factors(spec, of_baseline)
    return {"factors": ", ".join(names), "factor_count": len(names)}


def sentence(row: dict[str, Any], baseline: str) -> str:
    """Return a comparison as one sentence."""
    n, n_base = int(row["n"]), int(row["n_baseline"])
    seeds = plural(n, "seed") if n == n_base else f"{n} and {plural(n_base, 'seed')}"
    beginning = f"{row['label']} against {baseline}: {signed(row['difference'])} AP"
    cost = "" if row["matched"] else f", {cost_words(row['gmacs_ratio'])}"
    if row["verdict"] == "not tested":
        return f"{beginning}, {seeds}{cost}: not tested."
    text = f"{beginning} {signed_interval(row['low'], row['high'])}, {seeds}{cost}: "
    if row["verdict"] == "significant":
        return f"{text}significant."
    return f"{text}not significant (corrected p {p_value(row['p_holm'])})."


def cost_words(ratio: float) -> str:
    """Return a cost relative to the baseline's in words: "at 12 % more GMACs", "at 2.5 times the GMACs"."""
    if math.isnan(ratio):
        return "at a cost that cannot be compared"
    if ratio >= 2.0:
        return f"at {significant(ratio, 2)} times the GMACs"
    share = 100.0 * abs(ratio - 1.0)
    return f"at {significant(share, 2)} % {'more' if ratio > 1.0 else 'fewer'} GMACs"


def fairness(differences: pd.DataFrame, baseline: str) -> Text:
    """Return how many comparisons are at matched cost, and how many differ in one factor only."""
    matched, several, count = (
        int(differences["matched"].sum()),
        int((differences["factor_count"] > 1).sum()),
        len(differences),
    )
    of_all = f"{matched} of {plural(count, 'comparison')}"
    cost = f"{of_all} at matched cost (within {100 * MATCHED_COST:.0f} % of the GMACs of {baseline})."
    factors = sorted(set(differences["factors"]))
    if several:
        rest = f"{several} differ in more than one factor, so their difference has no single cause."
    elif len(factors) == 1:
        rest = f"The only factor that differs is {factors[0]}."
    else:
        rest = f"Each differs in one factor: {listed(factors)}."
    return Text(text=f"{cost} {rest}")


def _verdict(differences: pd.DataFrame) -> Text:
    if (differences["verdict"] == "not tested").all():
        return Text(text="With one seed on a side no difference can be tested.", tone="warning")
    number = int((differences["verdict"] == "significant").sum())
    return Text(
        text=f"{number} of {plural(len(differences), 'difference')} to the baseline significant (Welch, Holm-corrected)."
    )


def _figure(differences: pd.DataFrame, baseline: str) -> Figure:
    intervals = bool(differences["low"].notna().any())
    caption = (
        "Bars are 95 % Welch intervals, not corrected for multiple comparisons; the table has the corrected p."
        if intervals
        else "Hollow marks: one seed on a side, no interval."
    )
    if len(differences) > MOST_SHOWN:
        caption += f" The {MOST_SHOWN} with the highest AP of {len(differences)}."
    least = differences[["n", "n_baseline"]].min(axis=1)
    if intervals and ((least > 1) & (least <= SMALL_N) & (differences["n"] != differences["n_baseline"])).any():
        caption += " With two or three seeds against more, their coverage is about 90 %."
    return Figure(
        name="difference_to_baseline",
        table=differences.head(MOST_SHOWN).drop(columns="sentence"),
        draw=functools.partial(cost_figures.difference_figure, baseline=baseline),
        title=f"Difference in AP to {baseline}",
        caption=caption,
        alt=f"Differences in AP to {baseline}",
    )


def _table(differences: pd.DataFrame, baseline: str) -> Table:
    """Return the table of differences, with columns for tests if there were any."""
    frame = differences.copy()
    frame["interval"] = [signed_interval(low, high) for low, high in zip(frame["low"], frame["high"], strict=True)]
    frame["p"] = [p_value(p) for p in frame["p_holm"]]
    frame["cost"] = 100.0 * (frame["gmacs_ratio"] - 1.0)
    frame["cost_matched"] = ["yes" if matched else "no" for matched in frame["matched"]]
    tested = bool(frame["p_holm"].notna().any())
    columns = [
        Column(key="label", label="Architecture", swatch="series"),
        Column(key="difference", label="ΔAP", digits=1, signed=True),
    ]
    if tested:
        columns += [
            Column(key="interval", label="95 % interval", sort="low"),
            Column(key="p", label="p", sort="p_holm"),
            Column(
                key="detectable", label="Detectable", digits=1, help="smallest detectable difference with these seeds"
            ),
            Column(
                key="needed",
                label="Seeds needed",
                digits=0,
                help="a side, for 80 % power in one uncorrected test",
            ),
        ]
    columns += [
        Column(key="n", label="Seeds", digits=0),
        Column(key="cost", label="ΔGMACs, %", digits=0, signed=True),
        Column(
            key="cost_matched", label="Cost matched", help=f"within {100 * MATCHED_COST:.0f} % of the baseline's GMACs"
        ),
    ]
    if frame["factors"].nunique() > 1 or int(frame["factor_count"].max()) > 1:
        columns += [Column(key="factors", label="Differs in", help="topology is the wiring alone, without its fusion")]
    columns += [Column(key="verdict", label="Verdict")] if tested else []
    caption = f"Δ is the difference to {baseline}, which has {plural(int(frame['n_baseline'].iloc[0]), 'seed')}."
    if tested:
        caption += (
            " p: Welch's t-test, Holm-corrected. Detectable: the smallest true difference that one t-test with the pooled SD "
            "finds with 80 % power (5 %, two-sided); Welch's test needs 15 % more at three seeds a side."
        )
    return Table(name="differences", frame=frame, columns=tuple(columns), caption=caption)
