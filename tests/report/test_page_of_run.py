"""The page of a run and the table of its sections: what a line of it is enough for."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from scaling_lab.errors import UserError
from scaling_lab.report import Frontier, run_page, write_report
from scaling_lab.report.page.blocks import Section, Text
from scaling_lab.report.page_of_run import SECTIONS
from scaling_lab.runs.reader import Runs
from tests.report.fixture_run import opened, topology_trials

Made = tuple[Runs, Frontier]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A small run and its frontier."""
    return opened(tmp_path_factory.mktemp("made"), topology_trials(names=("fpn", "bifpn")))


def cheapest(runs: Runs, frontier: Frontier) -> Section:
    """Name the cheapest architecture: a section that no other file knows."""
    label = frontier.architectures.sort_values("gmacs")["label"].iloc[0]
    return Section(title="Cheapest", blocks=(Text(text=f"{label} of {len(runs.table())} trials"),))


def test_a_new_section_is_one_function_and_one_line(
    made: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs, frontier = made
    report = tmp_path / "mine.py"
    report.write_text(
        "from scaling_lab.report import run_page\n"
        "def report(runs):\n"
        "    return run_page(runs, ('limits', 'cheapest', 'provenance'))\n"
    )
    with pytest.raises(UserError, match="section 'cheapest' is unknown; allowed are limits, explorer"):
        write_report(runs.path, report, tmp_path)
    monkeypatch.setitem(SECTIONS, "cheapest", f"{__name__}:cheapest")
    page = write_report(runs.path, report, tmp_path).read_text(encoding="utf-8")
    label = frontier.architectures.sort_values("gmacs")["label"].iloc[0]
    assert f"{label} of {len(runs.table())} trials" in page


def test_a_section_may_be_a_function(made: Made) -> None:
    runs, _ = made
    page = run_page(runs, ("limits", cheapest))
    assert [section.title for section in page.sections][-1] == "Cheapest"


@pytest.mark.parametrize("name", SECTIONS)
def test_every_line_of_the_table_makes_a_section(name: str, made: Made) -> None:
    module, _, function = SECTIONS[name].partition(":")
    assert isinstance(getattr(importlib.import_module(module), function)(*made), Section)
