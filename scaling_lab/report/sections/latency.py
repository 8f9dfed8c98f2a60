"""The report on measured latencies: how well counted costs predict them. Conditions are never mixed on one axis.

Detectors that a cost ranks wrongly are listed. Intervals are from a jackknife over detectors.
"""

from __future__ import annotations

import pandas as pd

from scaling_lab.metrics import COUNTED
from scaling_lab.report.analysis.latency_orders import LEAST, correlations, most_misled, with_residuals, with_series
from scaling_lab.report.figures.latency_figures import correlation_figure, rank_figure, residual_figure
from scaling_lab.report.page.blocks import (
    Block,
    Bullets,
    Column,
    Facts,
    Figure,
    Page,
    Section,
    Table,
    Text,
    metric_column,
)
from scaling_lab.report.sections.latency_words import condition_words
from scaling_lab.report.tables import records
from scaling_lab.runs.latencies import CONDITIONS, Latencies
from scaling_lab.text import plural


def latency_page(measured: Latencies) -> Page:
    """Build the page of one file of latencies: sections for each device and set of conditions."""
    latencies = measured.table()
    groups = [group.reset_index(drop=True) for _, group in latencies.groupby([*CONDITIONS, "method"], sort=False)]
    tables = [_judged(group) for group in groups]
    return Page(
        title=measured.path.stem.replace("_", " ").capitalize(),
        question="Do multiply-adds, parameters or activations predict how long a detector takes?",
        subtitle=f"{plural(latencies['architecture'].nunique(), 'detector')} with random weights, prepared for inference",
        answer=answer([found for _, found in tables]),
        main=("rank_correlations",),
        sections=tuple(
            section
            for index, group in enumerate(groups)
            for section in _sections(group, *tables[index], index, len(groups))
        ),
    )


def answer(correlated: list[pd.DataFrame]) -> str:
    """Answer in one sentence how well GMACs rank latency; `correlated` has the correlations of each condition."""
    if not correlated:
        return "The file holds no measurement."
    rows = [row for found in correlated for row in records(found) if (row["among"], row["cost"]) == ("all", "gmacs")]
    if not rows:
        return f"No condition has {LEAST} detectors of different GMACs, so no correlation is computed."
    if len(rows) > 1:
        taus = [float(row["tau"]) for row in rows]
        return f"GMACs rank latency with tau-b {min(taus):.2f} to {max(taus):.2f} under {len(rows)} conditions."
    row = rows[0]
    return (
        f"GMACs rank latency with tau-b {row['tau']:.2f} (95 % CI {row['low']:.2f}–{row['high']:.2f}, {row['detectors']} "
        f"detectors); the one with fewer GMACs is slower in {100 * row['inverted']:.0f} % of pairs."
    )


def _judged(group: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one condition's latencies with residuals on GMACs, and correlations; empty if too few."""
    table = with_series(group)
    found = correlations(table)
    if len(table) < LEAST or found.empty:
        return table, found.iloc[:0]
    return with_residuals(table, found), found


def _sections(group: pd.DataFrame, table: pd.DataFrame, found: pd.DataFrame, index: int, count: int) -> list[Section]:
    condition = condition_words(group.iloc[0])
    suffix = f": {condition}" if count > 1 else ""
    if len(table) < LEAST:
        blocks: list[Block] = [Text(text=f"A correlation needs {LEAST} detectors; here are {len(table)}.", tone="note")]
    elif found.empty:
        blocks = [Text(text="These detectors have equal counted costs.", tone="note")]
    else:
        blocks = [Bullets(items=tuple(_findings(found))), *_figures(table, found, condition, index)]
    return [
        Section(title=f"Limits{suffix}", blocks=(Bullets(items=tuple(_limits(table, found, condition))),)),
        Section(title=f"Latency and cost{suffix}", blocks=tuple(blocks)),
        Section(title=f"Detectors{suffix}", blocks=(_table(table, index),)),
        Section(title=f"How it was measured{suffix}", blocks=(_facts(group),)),
    ]


# --- blocks --------------------------------------------------------------------------------------------------------


def _findings(correlated: pd.DataFrame) -> list[tuple[str, str]]:
    whole = records(correlated[correlated["among"] == "all"])
    return [
        (f"{row['name']}:", f"tau-b {row['tau']:.2f} [{row['low']:.2f}, {row['high']:.2f}] with latency.")
        for row in whole
    ]


def _limits(table: pd.DataFrame, correlated: pd.DataFrame, condition: str) -> list[tuple[str, str]]:
    found = [("One condition:", f"{condition}. Other devices, batch sizes and precisions were not measured.")]
    if "slower" in table:
        least, most = float(table["slower"].min()), float(table["slower"].max())
        found.append(("At equal GMACs", f"latency is {least:.2f} to {most:.2f} times what a log-log line predicts."))
    within = correlated[(correlated["among"] != "all") & (correlated["cost"] == "gmacs")]
    if len(within):
        row = min(records(within), key=lambda row: float(row["tau"]))
        bounds = f"[{row['low']:.2f}, {row['high']:.2f}], {row['detectors']} detectors"
        found.append(
            ("Within one search space", f"GMACs rank worst in {row['among']}: tau-b {row['tau']:.2f} ({bounds}).")
        )
    return found


def _figures(table: pd.DataFrame, correlated: pd.DataFrame, condition: str, index: int) -> list[Block]:
    suffix = "" if index == 0 else f"_{index + 1}"
    columns = ["detector", "architecture", "description", *COUNTED, "median_ms", "series"]
    taus = [f"{cost}_tau" for cost in COUNTED]
    misled = most_misled(table)
    found: list[Block] = [
        Figure(
            name=f"latency_against_costs{suffix}",
            table=table[[*columns, *taus]],
            draw=correlation_figure,
            title="Latency against counted costs",
            caption=f"Each dot is a detector, the median of its runs. {condition}.",
            alt=f"Latency against GMACs, parameters, activations and memory on {condition}",
        ),
        Figure(
            name=f"rank_correlations{suffix}",
            table=correlated,
            draw=rank_figure,
            title="How well each cost ranks latencies",
            caption="Kendall's tau-b with latency (1: same order, 0: none), with 95 % jackknife intervals over detectors.",
            alt="Rank correlation of each cost with latency, over all detectors and within each space",
        ),
        Figure(
            name=f"latency_residuals{suffix}",
            table=table[[*columns, "slower"]],
            draw=residual_figure,
            title="Where GMACs mislead",
            caption="Latency relative to a log-log fit on GMACs; above the line a detector is slower than the fit.",
            alt="Latency relative to a log-log fit on GMACs, against GMACs",
        ),
    ]
    if len(misled):
        found.append(
            Table(
                name=f"misled_pairs{suffix}",
                frame=misled,
                columns=(
                    Column(key="fewer_gmacs", label="Fewer GMACs, slower"),
                    Column(key="more_gmacs", label="More GMACs, faster"),
                    Column(key="gmacs_ratio", label="GMACs, ratio", digits=2),
                    Column(key="latency_ratio", label="Latency, ratio", digits=2),
                ),
                caption="Pairs that GMACs rank wrongly, the largest gap first; each detector is in one pair.",
            )
        )
    return found


def _table(table: pd.DataFrame, index: int) -> Table:
    columns = [
        Column(key="description", label="Detector"),
        Column(key="detector", label="From"),
        Column(key="median_ms", label="Latency, ms", digits=3, significant=True, help="median, for a whole batch"),
        Column(key="p90_ms", label="p90", digits=3, significant=True),
        Column(key="spread_ms", label="Quartiles", digits=2, significant=True, help="interquartile range, ms"),
        Column(key="process_spread", label="Processes", digits=3, help="relative difference of their medians"),
        *(metric_column(name) for name in COUNTED),
        Column(key="peak_memory_mb", label="Peak memory, MB", digits=3, significant=True),
    ]
    if "slower" in table:
        columns.insert(
            3, Column(key="slower", label="Over its GMACs", digits=2, help="relative to a log-log fit on GMACs")
        )
    frame = table.drop(
        columns=["pieces_ms", "halves_ms", "versions", *[name for name in table if str(name).endswith("_tau")]]
    )
    return Table(name=f"latencies{'' if index == 0 else f'_{index + 1}'}", frame=frame, columns=tuple(columns))


def _facts(group: pd.DataFrame) -> Facts:
    first = group.iloc[0]
    versions = sorted({f"{name} {value}" for each in group["versions"] for name, value in each.items() if value})
    least_runs, least_processes = int(group["runs"].min()), int(group["processes"].min())
    drift = group["anchor_drift"].max()
    facts = [
        ("Conditions", condition_words(first)),
        ("Versions", ", ".join(versions)),
        ("Runs that count", f"at least {least_runs} of each detector, in at least {least_processes} processes"),
        ("Order", "interleaved; randomised every second round and reversed in the next"),
    ]
    if pd.notna(drift):
        facts.append(
            (
                "Anchor",
                f"{float(first['anchor_ms']):.4g} ms; off by at most {100 * float(drift):.1f} % beside the runs that count",
            )
        )
    facts.append(("Processes", f"medians differ by at most {100 * float(group['process_spread'].max()):.1f} %"))
    return Facts(items=tuple(facts))
