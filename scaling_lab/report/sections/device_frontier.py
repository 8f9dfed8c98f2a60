"""The page of a device's frontier: which published detector to take here for a budget, and what GMACs would choose."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from scaling_lab.report.analysis.device_frontier import (
    OWN,
    PREDICTED,
    UNITS,
    budget_table,
    elsewhere,
    order_by_gmacs,
    round_budgets,
    with_front,
)
from scaling_lab.report.figures.device_frontier_figure import device_frontier_figure
from scaling_lab.report.page.blocks import Block, Bullets, Column, Facts, Figure, Page, Section, Table, metric_column
from scaling_lab.report.sections.latency_words import condition_words
from scaling_lab.report.tables import records
from scaling_lab.text import listed, number, plural, significant

MAIN = "ap_against_latency"
MAIN_BUDGET = 0.35  # the budget of the answer, as a share of the range of round budgets


@dataclass(frozen=True, kw_only=True)
class PredictionErrors:
    """Median relative errors of the latency model: without one detector, and on larger ones; and how many it was fitted on."""

    fitted_on: int
    left_out: float
    beyond: float


@dataclass(frozen=True, kw_only=True, eq=False)
class DeviceFrontier:
    """One device under one set of conditions: `table` is that of `device_table`, `first` a measured row."""

    table: pd.DataFrame
    first: Mapping[str, Any]
    errors: PredictionErrors | None = None

    @property
    def words(self) -> str:
        """The conditions in words."""
        return condition_words(self.first)


def frontier_page(
    frontiers: Sequence[DeviceFrontier],
    *,
    budgets: Sequence[tuple[str, float]] = (),
    outputs: str,
    missing: Sequence[str] = (),
) -> Page:
    """Build the page. The first frontier gives the answer and the main figure.

    `budgets` are (cost, most), round ones if empty. `outputs` says what suppression was given. `missing` are sentences on
    detectors that could not be measured.
    """
    main = frontiers[0]
    asked = [*budgets] or round_budgets(main.table, "latency_ms")
    decided = budget_table(main.table, asked)
    return Page(
        title="Which detector for this device?",
        question="Which published detector has the highest AP within a budget on this device?",
        subtitle=main.words,
        answer=answer(decided, order_by_gmacs(main.table), has_asked=bool(budgets)),
        main=(MAIN,),
        sections=(
            Section(title="For a budget", blocks=(_latency_figure(main, MAIN), _budgets(decided))),
            Section(title="The same by GMACs and by memory", blocks=(_gmacs_figure(main), *_memory_figure(main))),
            *(_condition(each, place) for place, each in enumerate(frontiers[1:], start=2)),
            Section(title="Limits", blocks=(_limits(frontiers, outputs, missing),)),
            Section(
                title="All detectors", blocks=tuple(_rows(each, place) for place, each in enumerate(frontiers, start=1))
            ),
            Section(title="How it was measured", blocks=(_facts(main),)),
        ),
    )


# --- words -------------------------------------------------------------------------------------------------------------


def answer(decided: pd.DataFrame, order: Mapping[str, float], *, has_asked: bool = False) -> str:
    """Say what to take for one budget, and by how much the order by GMACs misleads; `decided` is that of `budget_table`."""
    rows = [row for row in records(decided) if row["label"]]
    if not rows:
        return "No measured detector is within the budget."
    row = rows[0] if has_asked else rows[round(MAIN_BUDGET * (len(rows) - 1))]
    return f"{_take(row)} {_misled(rows, order)}".strip()


def _take(row: Mapping[str, Any]) -> str:
    predicted = ", predicted" if row["group"] == PREDICTED else ""
    return (
        f"For {row['budget']:,g} {row['unit']}, take {row['label']}: {number(row['ap'], 1)} AP, "
        f"{significant(row['value'], 3)} {row['unit']}{predicted}."
    )


def _misled(rows: Sequence[Mapping[str, Any]], order: Mapping[str, float]) -> str:
    lost = [each["lost"] for each in rows if not math.isnan(each["lost"])]
    if math.isnan(order["tau"]):
        return ""
    agrees = f"GMACs rank the measured latencies with tau-b {number(order['tau'], 2)}"
    if not lost or max(lost) <= 0:
        return f"{agrees}, and choosing by them would lose no AP."
    return f"{agrees}; choosing by them would lose up to {number(max(lost), 1)} AP at {_at(rows, max(lost))}."


def _at(rows: Sequence[Mapping[str, Any]], lost: float) -> str:
    row = next(each for each in rows if each["lost"] == lost)
    return f"{row['budget']:,g} {row['unit']}"


def _limits(frontiers: Sequence[DeviceFrontier], outputs: str, missing: Sequence[str]) -> Bullets:
    first = frontiers[0]
    items = [
        (
            "AP is the published one. ",
            "It was not measured here; schedules, augmentation and suppression differ by source.",
        ),
        ("Weights are random. ", "A network's latency does not depend on them."),
    ]
    if any(each.first["scope"] == "end_to_end" for each in frontiers):
        items.append(("Suppression's latency depends on the outputs. ", f"Here {outputs}."))
    items += [("Predicted latencies. ", _error_words(each)) for each in frontiers if _has(each, PREDICTED)]
    if _has(first, OWN):
        items.append(("Own detectors ", "are on no front, since their AP is of other data or of another protocol."))
    if first.table["memory_is_counted"].any():
        items.append(("Memory ", "is counted, without workspaces, where it was not measured."))
    items.append(("One device. ", f"{first.words}. Reading and resizing images is not included."))
    items += [("Not measured. ", each) for each in missing]
    return Bullets(items=tuple(items))


def _error_words(each: DeviceFrontier) -> str:
    assert each.errors is not None
    errors = each.errors
    return (
        f"{listed(each.table.loc[each.table['group'] == PREDICTED, 'label'].tolist(), most=4)}: not measured. The model, "
        f"fitted on {plural(errors.fitted_on, 'detector')}, has a median error of {100 * errors.left_out:.1f} % on a left-out "
        f"detector, and of {100 * errors.beyond:.1f} % on larger ones than it has seen."
    )


def _has(each: DeviceFrontier, group: str) -> bool:
    return bool((each.table["group"] == group).any())


# --- figures -----------------------------------------------------------------------------------------------------------


def _latency_figure(each: DeviceFrontier, name: str) -> Figure:
    batch = int(each.first["batch"])
    of = "" if batch == 1 else f" an image, in batches of {batch}"
    return Figure(
        name=name,
        table=each.table,
        draw=functools.partial(device_frontier_figure, cost="latency_ms", axis=f"latency, ms{of}"),
        title="Published AP against latency on this device",
        caption=f"Median latency; a point is an architecture with its highest published AP. {each.words}.",
        alt=f"COCO AP against latency: {plural(len(each.table), 'detector')}, {int(each.table['on_front'].sum())} on the front",
    )


def _gmacs_figure(each: DeviceFrontier) -> Figure:
    table = pd.concat([with_front(each.table, "gmacs"), elsewhere()], ignore_index=True)
    return Figure(
        name="ap_against_gmacs_with_others",
        table=table,
        draw=functools.partial(device_frontier_figure, cost="gmacs", axis="GMACs per image"),
        title="By GMACs, with detectors that cannot be measured here",
        caption="Grey detectors are not built by this package, so only their published multiply-adds are known.",
        alt=f"COCO AP against GMACs: {plural(len(each.table), 'detector')} of the page and later ones in grey",
    )


def _memory_figure(each: DeviceFrontier) -> tuple[Block, ...]:
    table = each.table[~each.table["memory_is_counted"]]
    if table.empty:
        return ()
    return (
        Figure(
            name="ap_against_memory",
            table=with_front(table, "peak_memory_mb"),
            draw=functools.partial(device_frontier_figure, cost="peak_memory_mb", axis="peak memory, MB"),
            title="By peak memory on this device",
            caption="Weights, activations and workspaces that torch allocates for one run.",
            alt=f"COCO AP against peak memory: {plural(len(table), 'detector')}",
        ),
    )


def _condition(each: DeviceFrontier, place: int) -> Section:
    decided = budget_table(each.table, round_budgets(each.table, "latency_ms"))
    order = order_by_gmacs(each.table)
    text = answer(decided, order)
    return Section(
        title=f"Also {each.words}",
        blocks=(Bullets(items=(("", text),)), _latency_figure(each, f"{MAIN}_{place}")),
    )


# --- tables ------------------------------------------------------------------------------------------------------------


def _budgets(decided: pd.DataFrame) -> Table:
    names = dict(zip(UNITS, ("Latency", "Peak memory", "GMACs"), strict=True))
    return Table(
        name="budgets",
        frame=decided.assign(
            limit=[f"{names[row['cost']]} ≤ {row['budget']:,g} {row['unit']}" for row in records(decided)],
            predicted=["yes" if group == PREDICTED else "" for group in decided["group"]],
        ),
        columns=(
            Column(key="limit", label="Budget", sort="budget"),
            Column(key="label", label="Take"),
            Column(key="ap", label="AP", digits=1),
            Column(key="value", label="Its cost", digits=3, significant=True),
            Column(key="predicted", label="Predicted"),
            Column(key="by_gmacs", label="GMACs would take"),
            Column(key="by_gmacs_ap", label="Its AP", digits=1),
            Column(key="lost", label="AP lost", digits=1),
        ),
        caption="GMACs would take the best AP before the first detector, in order of GMACs, that exceeds the budget.",
    )


def _rows(each: DeviceFrontier, place: int) -> Table:
    return Table(
        name="detectors_here" if place == 1 else f"detectors_here_{place}",
        frame=each.table,
        columns=(
            Column(key="label", label="Detector"),
            Column(key="family", label="Family"),
            Column(key="ap", label="AP", digits=1),
            Column(key="split", label="AP on"),
            Column(key="latency_ms", label="Latency, ms", digits=3, significant=True, help="median, for one image"),
            Column(key="runs", label="Runs", digits=0),
            Column(key="peak_memory_mb", label="Peak memory, MB", digits=3, significant=True),
            metric_column("gmacs"),
            metric_column("params_m"),
            Column(key="group", label="Latency is"),
        ),
        caption=f"{each.words}. Fastest first. The CSV also has where the AP is from.",
    )


def _facts(each: DeviceFrontier) -> Facts:
    first, measured = each.first, each.table[each.table["runs"] > 0]
    versions = ", ".join(f"{name} {value}" for name, value in first["versions"].items() if value)
    return Facts(
        items=(
            ("Conditions", each.words),
            ("Versions", versions),
            ("Detectors measured", str(len(measured))),
            (
                "Runs",
                f"{int(measured['runs'].min())} to {int(measured['runs'].max())} of each detector, fewer of slower ones",
            ),
            ("Validity", "a run counts if the anchor detector beside it is within 3 % of its first median"),
        )
    )
