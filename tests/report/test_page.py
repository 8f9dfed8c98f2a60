"""The page is whole, alone, escaped and the same each time; a run with nothing in it still gives one that says so."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from scaling_lab.errors import UserError
from scaling_lab.report import Page, Section, write_report
from scaling_lab.report.page.blocks import Code, Column, Details, Facts, Table, Text
from scaling_lab.report.page.cells import cell_text
from scaling_lab.report.page.markup import render_page
from scaling_lab.report.page.writer import write_page
from scaling_lab.report.sections.conclusion_words import FAILURES
from scaling_lab.runs.reader import FAILURE_KINDS
from tests.report.conftest import ABLATION, EVIL, FRONTIER
from tests.report.fixture_run import Fixture, Trial, write_run

SECTIONS = (
    "Answer", "Limits", "Explore", "Against the baseline", "Accuracy and cost", "Architectures", "Topologies", "Beside the paper",
    "Learning curves", "Detections", "Failures", "Provenance",
)  # fmt: skip


class Elements(HTMLParser):
    """Collects start tags with their attributes, ids and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def elements(page: Path) -> Elements:
    return Elements(page.read_text())


def test_all_sections_are_there(elements: Elements) -> None:
    for name in SECTIONS:
        assert ("section", {"id": re.sub("[^a-z]+", "-", name.lower())}) in elements.tags


def test_texts_from_the_run_are_shown_and_escaped(page: Path, elements: Elements) -> None:
    assert EVIL not in page.read_text()
    assert EVIL in elements.text
    assert f"the loss is nan {EVIL}" in elements.text
    stored = [attributes for tag, attributes in elements.tags if tag == "script" and attributes]
    assert stored == [{"type": "application/json"}]  # the explorer's values
    assert [tag for tag, _ in elements.tags].count("script") == 1 + 4  # the page's, plotly's and the explorer's two


def test_the_page_needs_no_other_file(page: Path, elements: Elements) -> None:
    loading = ("src", "srcset", "data", "poster", "background")
    for tag, attributes in elements.tags:
        assert not any(name in attributes for name in loading), (tag, attributes)
        link = attributes.get("href") or attributes.get("xlink:href") or "#"
        if tag == "a":  # beside the page, if it is still there
            assert link.startswith("#") or (page.parent / link).is_file()
        else:
            assert link.startswith(("#", "data:"))
    assert "url(http" not in page.read_text()
    policy = next(attributes for tag, attributes in elements.tags if "http-equiv" in attributes)
    assert str(policy["content"]).startswith("default-src 'none'")


def test_ids_are_unique_and_references_lead_somewhere(page: Path, elements: Elements) -> None:
    ids = [attributes["id"] for _, attributes in elements.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    text = re.sub("<script.*?</script>", "", page.read_text(), flags=re.DOTALL)
    references = re.findall(r'href="#([^"]+)"', text) + re.findall(r"url\(#([^)]+)\)", text)
    assert set(references) <= set(ids)


def test_every_figure_has_its_files(page: Path) -> None:
    files = {path.name for path in (page.parent / "figures").iterdir()}
    for name in (
        "ap_against_gmacs",
        "ap_against_latency",
        "ap_against_latency_2",
        "learning_curves",
        "sample_detections",
    ):
        assert {f"{name}.{kind}" for kind in ("svg", "pdf", "png", "csv")} <= files
    assert len([name for name in files if name.startswith("topology_bifpn")]) == 4
    front = pd.read_csv(page.parent / "figures" / "ap_against_gmacs.csv")
    assert len(front) == 9
    assert list(pd.read_csv(page.parent / "tables" / "architectures.csv")["label"]) == ["BiFPN", "PANet", "FPN"]


def test_every_table_is_there_as_latex_and_markdown(page: Path) -> None:
    tables = page.parent / "tables"
    names = {path.stem for path in tables.glob("*.csv")}
    assert "architectures" in names
    assert names == {path.stem for path in tables.glob("*.tex")} == {path.stem for path in tables.glob("*.md")}
    html = page.read_text()
    assert '<a href="tables/architectures.tex">LaTeX</a> <a href="tables/architectures.md">Markdown</a>' in html


def test_conditions_of_latency_are_stated(elements: Elements) -> None:
    assert (
        f"Measured on CPU {EVIL}, 2 threads, batch 1, float32, eager, network alone, measured quickly" in elements.text
    )
    assert "Measured on NVIDIA H200, 2 threads, batch 8" in elements.text


def test_quick_latencies_have_no_front(page: Path, elements: Elements) -> None:
    caution = "Measured quickly, once each, after the trials, on a machine that may have been busy"
    assert elements.text.count(caution) == 2  # the two devices
    assert not pd.read_csv(page.parent / "figures" / "ap_against_latency.csv")["on_front"].any()
    assert "The device was not quiet" not in elements.text  # all 90th percentiles are near their medians


def test_what_can_be_concluded_is_said(elements: Elements) -> None:
    assert "9 of 12 trials complete (1 stopped, 1 failed, 1 running)" in elements.text
    assert "3 seeds each" in elements.text
    assert "Smallest detectable difference:" in elements.text
    assert "6 epochs of 4,096 synthetic images: the ranking may differ on photographs" in elements.text
    assert "AP by object size:" in elements.text


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(run: Path, page: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("report"))
    again = write_report(tmp_path / "run", ABLATION)
    assert again.read_bytes() == page.read_bytes()
    for file in sorted((page.parent / "figures").iterdir()):
        assert (again.parent / "figures" / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.parametrize(
    ("report", "trials", "words"),
    [
        (FRONTIER, [], "The run has no trials yet, so there is no AP"),
        (ABLATION, [], "The run has no trials yet, so there is no AP"),
        (ABLATION, [Trial(topology="bifpn", state="failed")], "0 of 1 trial complete (1 failed), so there is no AP"),
        (FRONTIER, [Trial(topology="bifpn", state="planned")], "0 of 1 trial complete (1 planned), so there is no AP"),
        (FRONTIER, [Trial(topology="bifpn")], "BiFPN has AP"),
        (ABLATION, [Trial(topology="panet")], "no other architecture has a complete trial"),
        (ABLATION, [Trial(topology="none")], "Unconnected levels: each level still has a convolution"),
        (ABLATION, [Trial(topology="none", state="failed")], "Failed. 1 trial: the loss was not finite."),
    ],
    ids=["empty", "empty ablation", "failed", "planned", "one", "one ablation", "none", "why"],
)
def test_a_run_with_little_in_it_gives_a_page(tmp_path: Path, trials: list[Trial], words: str, report: Path) -> None:
    path = write_run(tmp_path / "run", Fixture(trials=trials, samples=1 if trials else 0))
    assert words in Elements(write_report(path, report, compact=True).read_text()).text


def test_a_section_without_content_is_left_out(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", Fixture(trials=[Trial(topology="bifpn", state="failed")], samples=1))
    elements = Elements(write_report(path, ABLATION, compact=True).read_text())
    ids = [attributes.get("id") for tag, attributes in elements.tags if tag == "section"]
    assert ids == ["answer", "limits", "architectures", "topologies", "learning-curves", "failures", "provenance"]
    links = [attributes["href"] for tag, attributes in elements.tags if tag == "a" and attributes["href"][0] == "#"]
    assert links == [f"#{name}" for name in ids if name != "answer"]


def test_blocks_that_no_report_of_ours_nests() -> None:
    table = Table(
        name="a b",
        frame=pd.DataFrame({"x": [None, 1.5]}),
        columns=(Column(key="x", label="<x>", digits=1),),
        most_rows=1,
    )
    details = Details(title="<more>", blocks=(table, Code(text="<b>"), Facts(items=(("<n>", "<v>"),))))
    text = render_page(
        Page(title="<t>", question="<q>", sections=(Section(title="<s>", blocks=(details, Text(text="<w>"))),))
    )
    for escaped in (
        "&lt;more&gt;",
        "&lt;b&gt;",
        "&lt;n&gt;",
        "&lt;v&gt;",
        "&lt;q&gt;",
        "&lt;s&gt;",
        "&lt;w&gt;",
        "&lt;x&gt;",
    ):
        assert escaped in text
    assert "The first 1 of 2 rows." in text


def test_numbers_for_people() -> None:
    assert cell_text(Column(key="x", label="", digits=1), -1.25) == "−1.2"
    assert cell_text(Column(key="x", label="", digits=1, signed=True), 0.04) == "0.0"
    assert cell_text(Column(key="x", label="", digits=1, signed=True), 2.0) == "+2.0"
    assert cell_text(Column(key="x", label="", digits=1), float("nan")) == "–"
    assert cell_text(Column(key="x", label="", digits=None), None) == ""
    column = Column(key="x", label="", digits=3, significant=True)
    values = (0.01096, 0.0999999, 2.492, 12.0, 325.4, 12345.6, 0.0)
    assert [cell_text(column, value) for value in values] == [
        "0.0110", "0.100", "2.49", "12.0", "325", "12,300", "0.00",
    ]  # fmt: skip


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_page(Page(title="", question="", sections=()), tmp_path / "file" / "report", "x")


def test_every_kind_of_failure_is_told_in_words(tmp_path: Path) -> None:
    trials = [
        Trial(topology="none", seed=seed, state="failed", failure=(kind, "m"))
        for seed, kind in enumerate(FAILURE_KINDS)
    ]
    text = Elements(write_report(write_run(tmp_path / "run", Fixture(trials=trials)), compact=True).read_text()).text
    assert set(FAILURES) == set(FAILURE_KINDS)
    assert all(words in text for words in FAILURES.values())
