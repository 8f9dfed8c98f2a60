"""Figures 1 and 4 from published numbers: whose points are where, what is on the front, and the page that shows them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.text import Annotation
from playwright.sync_api import Browser

from scaling_lab.cli import main
from scaling_lab.report.analysis.detector_facts import published_detectors, sources
from scaling_lab.report.analysis.published_fronts import FAMILIES, GROUPS, LATER, overtaken, points
from scaling_lab.report.figures import style
from scaling_lab.report.figures.published_fronts_figure import published_fronts_figure
from scaling_lab.report.page.blocks import Figure, Page, Section, Table
from scaling_lab.report.page.markup import render_page
from scaling_lab.report.page.svg import drawn
from scaling_lab.report.page.writer import figures_of, tables_of
from scaling_lab.report.sections.paper_figures import MAIN, answer, figures_page
from tests.report.conftest import CHROMIUM, opened_whole


@pytest.fixture(scope="module")
def by_gmacs() -> pd.DataFrame:
    return points("gmacs")


# --- points and fronts -------------------------------------------------------------------------------------------------


def test_the_papers_detectors_have_its_numbers(by_gmacs: pd.DataFrame) -> None:
    paper = by_gmacs[by_gmacs["group"] == GROUPS[0]]
    assert set(paper["family"]) == set(FAMILIES)
    d7x = paper.set_index("label").loc["EfficientDet-D7x"]
    assert (d7x["gmacs"], d7x["ap"], d7x["split"], d7x["series"]) == (410, 54.4, "val", 0)
    assert set(paper.loc[paper["split"] == "test-dev", "family"]) == {"YOLOv3", "ResNet-50 + NAS-FPN"}
    assert len(paper) == 19  # Mask R-CNN X152 has no FLOPs


def test_later_detectors_are_without_augmentation_at_test_time(by_gmacs: pd.DataFrame) -> None:
    assert set(LATER) <= set(sources())
    later = by_gmacs[by_gmacs["series"] < 0]
    assert len(later) >= 120
    assert not later["label"].str.contains("TTA").any()
    assert not later["family"].isin(["Faster R-CNN"]).any()
    assert set(later.loc[later["family"].str.contains("Objects365|LW-DETR"), "group"]) == {GROUPS[2]}


def test_the_front_is_of_later_detectors_trained_on_coco_alone(by_gmacs: pd.DataFrame) -> None:
    front = by_gmacs[by_gmacs["on_front"]].sort_values("gmacs")
    assert set(front["group"]) == {GROUPS[1]}
    assert front["ap"].is_monotonic_increasing
    rest = by_gmacs[by_gmacs["group"] == GROUPS[1]]
    for row in front.itertuples():
        cheaper = rest[rest["gmacs"] < row.gmacs]
        assert cheaper["ap"].max() < row.ap or cheaper.empty


def test_latencies_are_of_the_device_and_of_one_image() -> None:
    v100 = points("latency_ms:V100").set_index("label")
    assert v100.loc["EfficientDet-D0", "latency_ms"] == 10.2
    assert v100.loc["YOLOv5n", "latency_ms"] == 6.3
    titan = points("latency_ms:Titan V")
    assert set(titan["group"]) == {GROUPS[0]}
    assert not titan["on_front"].any()
    assert GROUPS[0] not in set(points("latency_ms:T4")["group"])


def test_each_efficientdet_stands_beside_the_later_front() -> None:
    rows = [("EfficientDet-D0", 3.0, 35.0, False), ("EfficientDet-D1", 6.0, 60.0, False)]
    later = [("a", 1.0, 30.0, True), ("b", 2.0, 40.0, True), ("c", 9.0, 50.0, True), ("d", 2.0, 20.0, False)]
    table = pd.DataFrame([*rows, *later], columns=["label", "gmacs", "ap", "on_front"])
    table["family"] = ["EfficientDet", "EfficientDet", "x", "x", "x", "x"]
    found = overtaken(table, "gmacs").set_index("label")
    assert list(found.loc["EfficientDet-D0", ["best", "gain", "cheapest", "ratio"]]) == ["b", 5.0, "b", 1.5]
    assert list(found.loc["EfficientDet-D1", ["best", "gain", "cheapest"]]) == ["b", -20.0, ""]
    assert answer(found.reset_index()) == (
        "Later detectors trained on COCO alone pass 1 of 2 EfficientDets at no more multiply-adds."
    )
    assert answer(found.reset_index().assign(gain=[1.25, 3.0])) == (
        "At no more multiply-adds, later detectors trained on COCO alone have 1.2 (D0) to 3.0 (D1) more published AP than "
        "EfficientDet."
    )
    assert answer(found.reset_index().assign(gain=float("nan"))).startswith("No later detector")


# --- the figure --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [style.WIDE, style.NARROW])
def test_the_figure_names_efficientdet_and_the_later_front(by_gmacs: pd.DataFrame, width: float) -> None:
    figure = published_fronts_figure(by_gmacs, width, cost="gmacs", axis="GMACs")
    (axes,) = figure.axes
    texts = [text for text in axes.texts if isinstance(text, Annotation)]
    own = [text.get_text() for text in texts if text.get_fontstyle() != "italic"]
    assert own == ["D0", "D1", "D2", "D3", "D4", "D5", "D6", "D7", "D7x"]
    named = {text.get_text() for text in texts if text.get_fontstyle() == "italic"}
    front = by_gmacs[by_gmacs["on_front"]].sort_values("gmacs")
    assert {front["label"].iloc[0], front["label"].iloc[-1]} <= named <= set(front["label"])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[-2:] == ["later, COCO alone, and front", "later, more data"]
    assert "ResNet-50 + NAS-FPN, test-dev" in legend
    low, high = axes.get_xlim()
    assert low < by_gmacs["gmacs"].min()
    assert high > by_gmacs["gmacs"].max()
    assert all("e+" not in text.get_text() for text in axes.get_xticklabels())


def test_a_figure_of_the_paper_alone_has_no_front() -> None:
    figure = published_fronts_figure(points("latency_ms:Titan V"), cost="latency_ms", axis="ms")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "EfficientDet", "RetinaNet", "ResNet-50 + NAS-FPN, test-dev", "AmoebaNet + NAS-FPN",
    ]  # fmt: skip
    assert len(figure.axes[0].lines) == 4


# --- the page ----------------------------------------------------------------------------------------------------------


def test_the_page_has_both_figures_all_counts_and_all_sources() -> None:
    page = figures_page()
    assert page.figure is not None
    assert page.figure.name == MAIN
    assert [figure.name for figure in figures_of(page)] == [
        MAIN, "figure_4_ap_against_parameters", "figure_4_latency_titan_v", "figure_4_latency_xeon_cpu_1_thread",
        "figure_4_latency_v100", "figure_4_latency_t4",
    ]  # fmt: skip
    tables = {table.name: table for table in tables_of(page)}
    assert len(tables["published_detectors"].frame) == len(published_detectors())
    counts = tables["own_counts"].frame
    apart = counts[(counts["gmacs_percent"].abs() > 2) | (counts["params_percent"].abs() > 2)]
    assert len(counts) >= 80
    assert (apart["note"] != "").all()
    assert len(tables["published_sources"].frame) == len({row.source.source for row in published_detectors()})
    assert set(tables["efficientdet_and_later"].frame["label"]) == {
        row.model
        for row in published_detectors()
        if row.family == "EfficientDet" and row.source.repository[:5] == "arXiv"
    }
    gains = tables["efficientdet_and_later"].frame["gain"]
    assert f"have {gains.min():.1f} (" in page.answer
    assert f"to {gains.max():.1f} (" in page.answer


def test_reproduce_figures_writes_every_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = figures_page()
    small = next(block for block in figures_of(page) if block.name == "figure_4_latency_titan_v")
    (table,) = (block for block in tables_of(page) if block.name == "efficientdet_and_later")
    monkeypatch.setattr("scaling_lab.report.sections.paper_figures.figures_page", lambda: _only(small, table))
    assert main(["reproduce", "figures", "--out", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"page": str(tmp_path / "out" / "figures.html")}
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")}
    assert written == {
        "figures.html",
        *(f"figures/figure_4_latency_titan_v.{kind}" for kind in ("svg", "pdf", "png", "csv")),
        *(f"tables/efficientdet_and_later.{kind}" for kind in ("csv", "tex", "md")),
    }
    again = pd.read_csv(tmp_path / "out" / "figures" / "figure_4_latency_titan_v.csv")
    assert len(again) == 16
    assert drawn(small, 3.7).axes


def _only(*kept: Figure | Table) -> Page:
    return Page(title="x", question="", sections=(Section(title="y", blocks=kept),))


@pytest.mark.parametrize("what", ["costs", "questions"])
def test_out_is_for_figures(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", what, "--out", "x"]) == 2
    assert f"--out is for reproduce figures; reproduce {what} writes no page" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
def test_the_page_fits_a_desk_and_a_phone(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "figures.html"
    path.write_text(render_page(figures_page()), encoding="utf-8")
    for width, height in ((1280, 900), (390, 844)):
        opened = opened_whole(browser, path, width, height)
        assert opened.locator("#table-published-detectors tbody tr").count() >= 40
        assert opened.locator("figure svg:visible").count() == 6  # each figure once, drawn for this width
        opened.close()
