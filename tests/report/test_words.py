"""Numbers as sentences: how names are listed."""

from __future__ import annotations

import math
from pathlib import Path

from scaling_lab.report.sections import conclusion_words
from scaling_lab.text import interval
from tests.report.fixture_run import opened, with_aps


def test_draws_are_drawn_in_to_what_so_many_architectures_lie_on() -> None:
    assert conclusion_words.drawn_in(3) == ""
    assert "common mean" in conclusion_words.drawn_in(7)
    assert "curve of AP by log cost" in conclusion_words.drawn_in(8)


def test_trainings_far_below_their_architectures_others_are_named(tmp_path: Path) -> None:
    aps = {"fpn": (60.0, 61.0, 60.5, 62.0, 40.0), "panet": (64.0, 65.5, 63.0, 64.0, 64.5), "none": (50.0, 20.0)}
    runs, frontier = opened(tmp_path, with_aps(**aps))
    said = dict(conclusion_words.conclusions(runs, frontier, runs.table()))["Trainings far below."]
    # Distances from medians of 60.5 and 64: 0.5, 0.5, 1.5, 20.5 and 0, 0.5, 1, 1.5, whose median is 0.75.
    assert said.startswith("1 of 12 trainings ended more than 5.6 AP (5 robust SDs) below the median")
    assert "(FPN, seed 4: 40.0, median 60.5). It did not learn" in said
    steady = opened(tmp_path / "steady", with_aps(fpn=(60.0, 61.0, 60.5), panet=(64.0, 65.5, 63.0)))[1]
    assert "Trainings far below." not in dict(conclusion_words.conclusions(runs, steady, runs.table()))


def test_an_interval_about_nothing_has_no_negative_zero() -> None:
    assert interval(-0.04, 0.04) == "[0.0, 0.0]"
    assert interval(-0.06, 12.34) == "[-0.1, 12.3]"
    assert interval(math.nan, math.nan) == "–"
