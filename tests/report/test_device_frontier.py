"""The frontier of a device from recorded latencies: what a budget takes, what GMACs would, and the page that says so."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser

from scaling_lab.report.analysis.detector_facts import PublishedDetector, published_detectors
from scaling_lab.report.analysis.device_frontier import (
    ELSEWHERE,
    OTHER_AP,
    OWN,
    PREDICTED,
    PUBLISHED,
    Candidate,
    best_within,
    budget_table,
    chosen_by_gmacs,
    device_table,
    elsewhere,
    order_by_gmacs,
    round_budgets,
)
from scaling_lab.report.page.blocks import Page
from scaling_lab.report.page.markup import render_page
from scaling_lab.report.page.writer import figures_of, tables_of
from scaling_lab.report.sections.device_frontier import MAIN, DeviceFrontier, PredictionErrors, answer, frontier_page
from tests.report.conftest import CHROMIUM, opened_whole

# Recorded milliseconds: d1 is slower than its GMACs tell, d4 was not measured.
TIMES = {"lite0": 20.0, "lite2": 45.0, "d0": 60.0, "d1": 190.0, "d2": 180.0, "d3": 400.0}
PREDICTIONS = {"d4": 800.0}


def _row(name: str, milliseconds: float, *, batch: int = 1) -> dict[str, Any]:
    return {
        "architecture": name,
        "device": "AMD EPYC",
        "dtype": "float32",
        "batch": batch,
        "threads": 2,
        "backend": "eager",
        "scope": "end_to_end",
        "median_ms": milliseconds,
        "p90_ms": 1.1 * milliseconds,
        "runs": 30,
        "peak_memory_mb": 10.0 + milliseconds,
        "method": "anchored",
        "versions": {"torch": "2.15.0"},
    }


def _costs(gmacs: float) -> dict[str, float]:
    return {"gmacs": gmacs, "params_m": gmacs, "activations_m": gmacs, "memory_mb": 10.0 * gmacs}


def _gmacs(rows: list[PublishedDetector]) -> float:
    assert rows[0].counted_gmacs is not None
    return rows[0].counted_gmacs


def _candidates() -> list[Candidate]:
    rows: dict[str, list[PublishedDetector]] = {}
    for row in published_detectors():
        if "(640)" in row.model:
            continue
        if row.source.source in ("automl", "efficientdet-paper") and row.counted_as in (*TIMES, *PREDICTIONS):
            rows.setdefault(row.counted_as, []).append(row)
    nas = [row for row in published_detectors() if row.ap_val is None and row.counted_as][:1]
    return [
        *(Candidate(architecture=name, costs=_costs(_gmacs(each)), rows=tuple(each)) for name, each in rows.items()),
        Candidate(architecture="nas", costs=_costs(360.0), rows=tuple(nas)),
        Candidate(architecture="mine", costs=_costs(3.0), label="mine", ap=71.0),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    measured = {name: _row(name, taken) for name, taken in {**TIMES, "nas": 2000.0, "mine": 30.0}.items()}
    return device_table(_candidates(), measured, PREDICTIONS)


@pytest.fixture(scope="module")
def page(table: pd.DataFrame) -> Page:
    errors = PredictionErrors(fitted_on=8, left_out=0.031, beyond=0.082)
    one = DeviceFrontier(table=table, first=_row("d0", 60.0), errors=errors)
    other = DeviceFrontier(table=table, first={**_row("d0", 60.0), "backend": "onnxruntime"}, errors=errors)
    return frontier_page([one, other], outputs="scores are spread", missing=["D7x does not fit"])


# --- the table ---------------------------------------------------------------------------------------------------------


def test_each_architecture_is_once_with_its_best_comparable_ap(table: pd.DataFrame) -> None:
    rows = table.set_index("architecture")
    assert list(table["latency_ms"]) == sorted(table["latency_ms"])
    assert rows.loc["lite0", ["label", "ap", "split", "group"]].tolist() == ["lite0", 26.41, "val", PUBLISHED]
    assert rows.loc["d0", ["label", "latency_ms", "p90_ms", "runs"]].tolist() == ["D0", 60.0, pytest.approx(66.0), 30]
    assert rows.loc["d4", ["latency_ms", "runs", "group", "memory_is_counted"]].tolist() == [800.0, 0, PREDICTED, True]
    assert rows.loc["nas", "group"] == OTHER_AP
    assert rows.loc["mine", ["label", "ap", "group"]].tolist() == ["mine", 71.0, OWN]


def test_the_front_is_of_comparable_ap(table: pd.DataFrame) -> None:
    front = table[table["on_front"]]
    assert front["architecture"].tolist() == [
        "lite0",
        "lite2",
        "d2",
        "d3",
        "d4",
    ]  # lite2 has more AP than d0; d2 beats d1
    assert set(front["group"]) == {PUBLISHED, PREDICTED}


def test_a_batch_counts_for_one_image() -> None:
    (row,) = device_table(_candidates()[:1], {"d0": _row("d0", 400.0, batch=8)}, {}).to_dict("records")
    assert (row["latency_ms"], row["p90_ms"]) == (50.0, pytest.approx(55.0))


def test_others_are_in_grey_by_their_gmacs() -> None:
    grey = elsewhere()
    assert len(grey) >= 120
    assert set(grey["group"]) == {ELSEWHERE}
    assert not grey["on_front"].any()


# --- budgets -----------------------------------------------------------------------------------------------------------


def test_a_budget_takes_the_highest_ap_within_it(table: pd.DataFrame) -> None:
    def taken(cost: str, most: float) -> str:
        found = best_within(table, cost, most)
        return found["architecture"] if found else ""

    assert [taken("latency_ms", most) for most in (10, 20, 59, 185, 500, 5000)] == [
        "",
        "lite0",
        "lite2",
        "d2",
        "d3",
        "d4",
    ]
    assert [taken("gmacs", most) for most in (1, 3, 11, 25)] == ["lite0", "d0", "d2", "d3"]
    assert taken("peak_memory_mb", 100.0) == "lite2"


def test_gmacs_stop_at_the_first_that_is_too_slow(table: pd.DataFrame) -> None:
    def taken(most: float) -> str:
        found = chosen_by_gmacs(table, "latency_ms", most)
        return found["architecture"] if found else ""

    assert [taken(most) for most in (10, 50, 185, 195)] == ["", "lite0", "lite2", "d2"]
    decided = budget_table(table, [("latency_ms", 10.0), ("latency_ms", 185.0), ("latency_ms", 195.0)])
    assert decided["label"].tolist() == ["", "D2", "D2"]
    assert decided["lost"].tolist()[1:] == [pytest.approx(43.5 - 35.06), 0.0]
    assert math.isnan(decided["lost"][0])


def test_the_order_by_gmacs_is_of_measured_detectors(table: pd.DataFrame) -> None:
    few = table[table["architecture"].isin(["lite0", "d1", "d2", "d4"])]
    assert order_by_gmacs(few) == {"tau": pytest.approx(1 / 3), "inverted": pytest.approx(1 / 3), "detectors": 3}


def test_budgets_are_round(table: pd.DataFrame) -> None:
    assert [most for _, most in round_budgets(table, "latency_ms")] == [20.0, 50.0, 100.0, 200.0, 500.0]
    assert round_budgets(table[table["architecture"] == "d1"], "latency_ms") == [("latency_ms", 200.0)]
    assert round_budgets(table.iloc[:0], "latency_ms") == []


# --- words -------------------------------------------------------------------------------------------------------------


def test_the_answer_names_detector_and_loss(table: pd.DataFrame) -> None:
    order = order_by_gmacs(table)
    decided = budget_table(table, [("latency_ms", 185.0), ("latency_ms", 1000.0)])
    assert answer(decided, order, has_asked=True) == (
        f"For 185 ms, take D2: 43.5 AP, 180 ms. GMACs rank the measured latencies with tau-b {order['tau']:.2f}; choosing by "
        "them would lose up to 8.4 AP at 185 ms."
    )
    assert answer(decided.iloc[1:], order).startswith("For 1,000 ms, take D4: 49.3 AP, 800 ms, predicted.")
    assert answer(budget_table(table, [("latency_ms", 1.0)]), order) == "No measured detector is within the budget."
    even = answer(budget_table(table, [("gmacs", 11.0)]), order)
    assert even.endswith("and choosing by them would lose no AP.")


def test_the_page_has_figures_tables_and_one_section_of_limits(page: Page) -> None:
    assert page.figure is not None
    assert page.figure.name == MAIN
    assert [figure.name for figure in figures_of(page)] == [
        MAIN, "ap_against_gmacs_with_others", "ap_against_memory", f"{MAIN}_2",
    ]  # fmt: skip
    assert [table.name for table in tables_of(page)] == ["budgets", "detectors_here", "detectors_here_2"]
    assert [section.title for section in page.sections].count("Limits") == 1
    assert page.answer.startswith("For 50 ms, take lite2: 35.1 AP, 45.0 ms.")


def test_limits_say_what_was_not_measured(page: Page) -> None:
    (limits,) = (section.blocks[0] for section in page.sections if section.title == "Limits")
    text = " ".join("".join(item) for item in limits.items)  # type: ignore[union-attr]
    assert "AP is the published one." in text
    assert "Here scores are spread." in text
    assert "D4 were not measured" not in text
    assert "D4: not measured" in text
    assert "median error of 3.1 % on a left-out detector, and of 8.2 % on larger ones" in text
    assert "D7x does not fit" in text
    assert "are on no front" in text


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
def test_the_page_fits_a_desk_and_a_phone(browser: Browser, page: Page, tmp_path: Path) -> None:
    path = tmp_path / "frontier.html"
    path.write_text(render_page(page), encoding="utf-8")
    for width, height in ((1280, 900), (390, 844)):
        opened = opened_whole(browser, path, width, height)
        assert opened.locator("figure svg:visible").count() == 4
        assert opened.locator("#table-budgets tbody tr").count() == 5
        opened.close()
