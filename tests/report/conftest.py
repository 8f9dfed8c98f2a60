"""Runs that several tests read, each written once: what a report costs is drawing, so tests share it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from playwright.sync_api import Page as BrowserPage

from scaling_lab.report import Frontier, compute_frontier, write_report
from scaling_lab.runs.reader import Runs
from tests.report.fixture_run import Fixture, Latency, Trial, topology_trials, write_run

ROOT = Path(__file__).parents[2]
ABLATION = ROOT / "reports" / "topology_ablation.py"
FRONTIER = ROOT / "reports" / "frontier.py"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = '<script>alert("x")</script>&\'"'


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished ablation: three topologies, three seeds, failures, a latency, hostile texts."""
    trials = topology_trials(names=("fpn", "panet", "bifpn"))
    trials += [Trial(topology="none", state="failed", failure=("diverged", f"the loss is nan {EVIL}"))]
    trials += [Trial(topology="fpn", seed=3, state="stopped"), Trial(topology="panet", seed=3, state="running")]
    fixture = Fixture(
        trials=trials,
        latencies=[Latency(device=f"CPU {EVIL}"), Latency(device="NVIDIA H200", batch=8)],
        samples=1,
        rejections=2,
        meta={"question": f"Which one? {EVIL}", "study_source": f"STUDY = 1  # {EVIL}"},
    )
    return write_run(tmp_path_factory.mktemp("runs") / "topology_ablation", fixture)


@pytest.fixture(scope="session")
def page(run: Path) -> Path:
    """The ablation's report of that run."""
    return write_report(run, ABLATION)


@pytest.fixture(scope="session")
def frontier(run: Path) -> Frontier:
    """What is computed from that run."""
    return compute_frontier(Runs(run))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a module's tests; while it is open, nothing else in the process can run an event loop."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def opened_whole(browser: Browser, path: Path, width: int, height: int) -> BrowserPage:
    """Open a page on a screen of this size: no error, nothing wider than it, the first figure within 800 px."""
    opened = browser.new_page(viewport={"width": width, "height": height})
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.goto(path.as_uri())
    assert wrong == []
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    top = opened.locator("figure").first.bounding_box()
    assert top is not None
    assert top["y"] < 800
    return opened
