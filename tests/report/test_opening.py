"""A page opens with its answer and main figure within 800 px of a desk, and its bullets and cells are short."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from scaling_lab.report import write_report
from tests.report.conftest import CHROMIUM, ROOT

RESULTS = ROOT / "reports" / "results"
LATENCIES = "latency_amd_epyc_1_thread_eager_float32.csv"
slow = pytest.mark.slow
# A kept run, or several, for every report file.
KINDS = [
    pytest.param("comparison", ["topology_ablation-seeds", "topology_ablation-matched"], marks=slow),
    ("topology_ablation", ["fusion-seeds"]),
    pytest.param("latency", [LATENCIES], marks=slow),
    pytest.param("proxy", ["proxy", "topology_ablation-seeds"], marks=slow),
    pytest.param("scaling", ["compound_scaling-seeds"], marks=slow),
    pytest.param("frontier", ["topology_search-seeds"], marks=slow),
    pytest.param("population", ["topology_search-seeds"], marks=slow),
    pytest.param("topology_ablation", ["backbone_and_network-seeds"], marks=slow),
    pytest.param("topology_ablation", ["topology_ablation-matched"], marks=slow),
    pytest.param("width_factor", ["width_factor-seeds"], marks=slow),
]
MOST_IN_BULLET, MOST_IN_CELL = 25, 10  # words
FOLD = 800  # px


class Written(HTMLParser):
    """Collects the texts of bullets, and of cells outside columns that hold a run's own names and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {"li": [], "td": []}
        self.open: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.found:
            self.found[tag].append("")
            self.open = tag

    def handle_endtag(self, tag: str) -> None:
        self.open = None if tag == self.open else self.open

    def handle_data(self, data: str) -> None:
        if self.open:
            self.found[self.open][-1] += data


def test_every_report_file_is_among_the_kinds() -> None:
    names = {str(kind.values[0]) if hasattr(kind, "values") else kind[0] for kind in KINDS}
    assert names == {path.stem for path in (ROOT / "reports").glob("*.py")}


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
@pytest.mark.parametrize(("report", "runs"), KINDS)
def test_a_page_opens_with_its_answer_and_is_short(
    report: str, runs: list[str], browser: Browser, tmp_path: Path
) -> None:
    paths = [RESULTS / name for name in runs]
    path = write_report(paths, ROOT / "reports" / f"{report}.py", tmp_path, compact=True)
    for width, fold in ((1280, FOLD), (390, None)):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        answer, figure = (
            page.locator(f"#answer {what}").bounding_box() for what in ("p.answer", "figure > div:visible")
        )
        assert answer is not None
        assert figure is not None
        assert answer["y"] + answer["height"] <= figure["y"]
        if fold:
            assert figure["y"] + figure["height"] <= fold
        page.close()
    written = Written(path.read_text())
    assert [text for text in written.found["li"] if len(text.split()) > MOST_IN_BULLET] == []
    assert [text for text in written.found["td"] if len(text.split()) > MOST_IN_CELL] == []
    assert written.found["li"]
