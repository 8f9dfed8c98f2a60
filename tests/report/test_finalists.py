"""Finalists in a report: by fresh seeds alone, beside what chose them, and in no mean with it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from scaling_lab.report import compute_frontier
from scaling_lab.report.analysis.frontier import summarise
from scaling_lab.report.analysis.shrinkage import shrinkage
from scaling_lab.report.page.blocks import Bullets, Table, Text
from scaling_lab.report.sections.finalists import finalists
from scaling_lab.report.sections.overview import answer
from scaling_lab.runs.reader import Runs
from tests.report.fixture_run import Fixture, Trial, write_run

SEARCH = {"fpn": 43.0, "panet": 50.0, "bifpn": 60.0, "none": 30.0}
FRESH = {"bifpn": (54.0, 55.0, 53.0), "panet": (49.0, 48.0, 50.0)}
META = {"finalists": {"count": 2, "seeds": [100, 101, 102], "baseline": True}, "baseline": {"topology": "fpn"}}


def write(path: Path, *, baseline: bool = False, fresh: bool = True) -> Runs:
    trials = [Trial(topology=name, ap=ap) for name, ap in SEARCH.items()]
    if fresh:
        trials += [
            Trial(topology=name, ap=ap, seed=100 + place, role="finalist")
            for name, aps in FRESH.items()
            for place, ap in enumerate(aps)
        ]
    if baseline:
        trials += [Trial(topology="fpn", ap=40.0 + seed / 10, seed=100 + seed, role="baseline") for seed in (0, 1, 2)]
    return Runs(write_run(path / "run", Fixture(trials=trials, samples=0, meta=META)))


def text_of(runs: Runs) -> str:
    section = finalists(runs, compute_frontier(runs))
    bullets = [block for block in section.blocks if isinstance(block, Bullets)]
    return "\n".join(f"{lead} {text}" for block in bullets for lead, text in block.items)


def test_no_mean_mixes_fresh_seeds_with_those_that_chose(tmp_path: Path) -> None:
    runs = write(tmp_path)
    frontier = compute_frontier(runs)
    searched = dict(zip(frontier.architectures["topology"], frontier.architectures["ap_mean"], strict=True))
    assert {name.split()[0]: ap for name, ap in searched.items()} == SEARCH
    assert set(frontier.architectures["n"]) == {1}
    fresh = summarise(frontier.finalists, frontier.labels, excluded=frontier.excluded)
    table = shrinkage(fresh, frontier)
    assert [name.split()[0] for name in table["topology"]] == ["bifpn", "panet"]
    assert table["ap_mean"].tolist() == pytest.approx([54.0, 49.0])
    assert table["ap_search"].tolist() == [60.0, 50.0]
    assert table["shrinkage"].tolist() == pytest.approx([6.0, 1.0])
    # Three seeds each, with an SD of 1 pooled over both: 2.776 / sqrt(3).
    assert (table["ap_high"] - table["ap_mean"]).tolist() == pytest.approx([1.603] * 2, abs=1e-3)


def test_the_section_says_what_the_choice_was_worth(tmp_path: Path) -> None:
    text = text_of(write(tmp_path))
    assert "AP 54.0 (95 % CI 52.4–55.6, 3 seeds)." in text
    assert "55.0 AP in the search, 51.5 with fresh seeds (−3.5), mean of 2 finalists." in text
    assert "Significantly below BiFPN: PANet." in text
    assert "Against the baseline" not in text


def test_the_baseline_was_not_chosen_for_its_ap(tmp_path: Path) -> None:
    runs = write(tmp_path, baseline=True)
    text = text_of(runs)
    assert "mean of 2 finalists" in text
    assert text.count(" against ") == 2
    section = finalists(runs, compute_frontier(runs))
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    assert table.frame["chosen"].tolist() == ["", "", "baseline"]


def test_the_answer_is_by_fresh_seeds(tmp_path: Path) -> None:
    runs = write(tmp_path)
    said = answer(runs, compute_frontier(runs))
    assert said.startswith("With fresh seeds, BiFPN has the highest mean AP, 54.0 (95 % CI 52.4–55.6, 3 seeds)")


def test_before_they_are_trained_and_without_any(tmp_path: Path) -> None:
    runs = write(tmp_path, fresh=False)
    (note,) = finalists(runs, compute_frontier(runs)).blocks
    assert isinstance(note, Text)
    assert note.text.startswith("No finalist has a complete trial yet")
    runs.meta["finalists"] = None
    assert finalists(runs, compute_frontier(runs)).blocks == ()


def test_finalists_of_an_architecture_without_a_complete_search_trial(tmp_path: Path) -> None:
    trials = [Trial(topology="fpn", ap=40.0), Trial(topology="bifpn", ap=50.0, seed=100, role="baseline")]
    runs = Runs(write_run(tmp_path / "run", Fixture(trials=trials, samples=0, meta=META)))
    frontier = compute_frontier(runs)
    table = shrinkage(summarise(frontier.finalists, frontier.labels, excluded=frontier.excluded), frontier)
    assert math.isnan(table["shrinkage"].iloc[0])
    assert "Shrinkage" not in text_of(runs)
