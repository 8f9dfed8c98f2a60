"""Published AP against latency and memory on one device: the front, the choice for a budget, and what GMACs would choose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from scaling_lab.report.analysis.detector_facts import PublishedDetector
from scaling_lab.report.analysis.published_fronts import points
from scaling_lab.report.tables import records
from scaling_lab.stats import ranks
from scaling_lab.stats.fronts import pareto_front

PUBLISHED, PREDICTED, OTHER_AP, OWN, ELSEWHERE = GROUPS = (
    "measured here",
    "predicted",
    "AP on test-dev or with more data",
    "own detectors",
    "not measurable here",
)
COSTS = ("latency_ms", "peak_memory_mb", "gmacs")
UNITS = {"latency_ms": "ms", "peak_memory_mb": "MB", "gmacs": "GMACs"}
STEPS = (1.0, 2.0, 5.0)  # budgets are these times powers of ten
MOST_BUDGETS = 6
LEAST = 3  # detectors for a tau


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A detector that can be built here: its published rows, or a label and the AP of one's own; and its counted costs."""

    architecture: str
    costs: Mapping[str, float]
    rows: tuple[PublishedDetector, ...] = ()
    label: str = ""
    ap: float = math.nan


def device_table(
    candidates: Sequence[Candidate], measured: Mapping[str, Mapping[str, Any]], predicted: Mapping[str, float]
) -> pd.DataFrame:
    """Return a row for each candidate with a latency; `measured` has rows of `latencies`, `predicted` ms for one image.

    Both are by architecture. Columns: label, family,
    architecture, group (of GROUPS), ap, split, where, counted costs, latency_ms and p90_ms for one image, peak_memory_mb
    (counted where it was not measured), memory_is_counted, runs, on_front (of low latency and high AP).
    """
    found = []
    for each in candidates:
        row = measured.get(each.architecture)
        if row is None and each.architecture not in predicted:
            continue
        found.append({**_described(each, is_measured=row is not None), **_costs(each, row, predicted)})
    columns = (
        "label",
        "family",
        "where",
        "ap",
        "split",
        "group",
        "architecture",
        "memory_is_counted",
        "runs",
        "p90_ms",
    )
    table = pd.DataFrame(found, columns=[*dict.fromkeys((*columns, *COSTS, *(found[0] if found else ())))])
    return with_front(table, "latency_ms").sort_values("latency_ms", ignore_index=True)


def with_front(table: pd.DataFrame, cost: str) -> pd.DataFrame:
    """Mark `on_front`, the front of a low cost and high AP among comparable detectors."""
    comparable = table["ap"].where(is_comparable(table))
    return table.assign(on_front=pareto_front(table[cost].tolist(), comparable.tolist()))


def is_comparable(table: pd.DataFrame) -> pd.Series[bool]:
    """Mark detectors whose AP is on COCO val2017 after training on COCO alone."""
    return table["group"].isin([PUBLISHED, PREDICTED])


def _described(each: Candidate, *, is_measured: bool) -> dict[str, Any]:
    if not each.rows:
        return {"label": each.label, "family": OWN, "where": "", "ap": each.ap, "split": "own", "group": OWN}
    best = max(each.rows, key=lambda row: (_is_comparable(row), row.ap))
    group = (PUBLISHED if is_measured else PREDICTED) if _is_comparable(best) else OTHER_AP
    return {
        "label": best.model.removeprefix("EfficientDet-"),
        "family": best.family,
        "where": best.source.place,
        "ap": best.ap,
        "split": best.split,
        "group": group,
    }


def _is_comparable(row: PublishedDetector) -> bool:
    return row.split == "val" and not row.extra_data and row.test_time_augmentation != "yes"


def _costs(each: Candidate, row: Mapping[str, Any] | None, predicted: Mapping[str, float]) -> dict[str, Any]:
    memory = None if row is None else row["peak_memory_mb"]
    return {
        **each.costs,
        "architecture": each.architecture,
        "latency_ms": predicted[each.architecture] if row is None else row["median_ms"] / row["batch"],
        "p90_ms": math.nan if row is None else row["p90_ms"] / row["batch"],
        "runs": 0 if row is None else row["runs"],
        "peak_memory_mb": each.costs["memory_mb"] if memory is None else memory,
        "memory_is_counted": memory is None,
    }


def elsewhere() -> pd.DataFrame:
    """Return later published detectors that are not built here: label, gmacs, ap, group, on_front (False), where."""
    table = points("gmacs")
    later = table[table["series"] < 0]
    return (
        later[["label", "gmacs", "ap", "split", "where"]].assign(group=ELSEWHERE, on_front=False).reset_index(drop=True)
    )


# --- budgets -----------------------------------------------------------------------------------------------------------


def best_within(table: pd.DataFrame, cost: str, most: float) -> dict[str, Any] | None:
    """Return the comparable detector of highest AP whose cost is at most `most`, the cheapest of equals; None without one."""
    within = table[is_comparable(table) & (table[cost] <= most)].sort_values(["ap", cost], ascending=[False, True])
    return records(within.head(1))[0] if len(within) else None


def chosen_by_gmacs(table: pd.DataFrame, cost: str, most: float) -> dict[str, Any] | None:
    """Return what trusting the order by GMACs chooses: the best AP before the first detector over the budget.

    Detectors are tried in order of GMACs. The first that exceeds the budget ends the search, since all with more GMACs are
    taken to cost more.
    """
    ordered = table[is_comparable(table)].sort_values(["gmacs", cost])
    over = (ordered[cost] > most).to_numpy()
    return best_within(ordered[: int(over.argmax())] if over.any() else ordered, cost, most)


def budget_table(table: pd.DataFrame, budgets: Sequence[tuple[str, float]]) -> pd.DataFrame:
    """Return for each budget (cost, most) the detector to take, what GMACs choose, and the AP that this loses.

    Columns: cost, unit, budget, label, ap, value (of the cost), group, by_gmacs, by_gmacs_ap, lost. Missing ones are "" and
    nan.
    """
    rows = []
    for cost, most in budgets:
        best, other = best_within(table, cost, most), chosen_by_gmacs(table, cost, most)
        rows.append(
            {
                "cost": cost,
                "unit": UNITS[cost],
                "budget": most,
                "label": best["label"] if best else "",
                "ap": best["ap"] if best else math.nan,
                "value": best[cost] if best else math.nan,
                "group": best["group"] if best else "",
                "by_gmacs": other["label"] if other else "",
                "by_gmacs_ap": other["ap"] if other else math.nan,
                "lost": best["ap"] - other["ap"] if best and other else math.nan,
            }
        )
    columns = ["cost", "unit", "budget", "label", "ap", "value", "group", "by_gmacs", "by_gmacs_ap", "lost"]
    return pd.DataFrame(rows, columns=columns)


def round_budgets(table: pd.DataFrame, cost: str) -> list[tuple[str, float]]:
    """Return up to MOST_BUDGETS round budgets, evenly spread in steps of 1, 2 and 5 over the costs of the table."""
    values = table.loc[is_comparable(table), cost]
    if values.empty:
        return []
    low, high = float(values.min()), float(values.max())
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = [step * 10.0**power for power in powers for step in STEPS]
    found = [step for step in steps if low <= step <= high] or [min(step for step in steps if step >= high)]
    if len(found) > MOST_BUDGETS:
        found = [found[round(place * (len(found) - 1) / (MOST_BUDGETS - 1))] for place in range(MOST_BUDGETS)]
    return [(cost, each) for each in found]


def order_by_gmacs(table: pd.DataFrame) -> dict[str, float]:
    """Return tau (Kendall's tau-b of GMACs and measured latency) and inverted, the share of pairs in opposite order."""
    measured = table[table["group"] != PREDICTED]
    gmacs, times = measured["gmacs"].to_numpy(dtype=float), measured["latency_ms"].to_numpy(dtype=float)
    if len(measured) < LEAST:
        return {"tau": math.nan, "inverted": math.nan, "detectors": float(len(measured))}
    return {
        "tau": ranks.tau(gmacs, times),
        "inverted": ranks.inverted_share(gmacs, times),
        "detectors": float(len(measured)),
    }
