"""Numbers as sentences: how names are listed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from scaling_lab.report.page.blocks import Table
from scaling_lab.report.sections import conclusion_words
from scaling_lab.report.sections.provenance import failures
from scaling_lab.text import interval
from tests.report.fixture_run import opened, with_aps


def test_posterior_means_are_shrunk_to_what_so_many_architectures_lie_on() -> None:
    assert conclusion_words.shrunk(3) == ""
    assert "common mean" in conclusion_words.shrunk(7)
    assert "curve of AP over log cost" in conclusion_words.shrunk(8)


def test_outliers_are_named(tmp_path: Path) -> None:
    aps = {"fpn": (60.0, 61.0, 60.5, 62.0, 40.0), "panet": (64.0, 65.5, 63.0, 64.0, 64.5), "none": (50.0, 20.0)}
    runs, frontier = opened(tmp_path, with_aps(**aps))
    said = dict(conclusion_words.limits(runs, frontier, runs.table()))["Outliers."]
    # Distances from medians of 60.5 and 64: 0.5, 0.5, 1.5, 20.5 and 0, 0.5, 1, 1.5, whose median is 0.75.
    assert said.startswith("1 of 12 training runs ended over 5.6 AP below")
    (table,) = (block for block in failures(runs, frontier).blocks if isinstance(block, Table))
    assert table.frame[["label", "seed", "ap", "median"]].to_numpy().tolist() == [["FPN", 4, 40.0, 60.5]]
    steady = opened(tmp_path / "steady", with_aps(fpn=(60.0, 61.0, 60.5), panet=(64.0, 65.5, 63.0)))[1]
    assert "Outliers." not in dict(conclusion_words.limits(runs, steady, runs.table()))


@pytest.mark.parametrize(
    ("aps", "end"),
    [
        ({"fpn": (60.0, 61.0), "bifpn": (60.2, 61.2)}, "but does not differ significantly from FPN."),
        ({"fpn": (50.0, 50.1, 50.2), "bifpn": (60.0, 60.1, 60.2)}, "and differs significantly from FPN."),
        (
            {"fpn": (50.0, 50.1, 50.2), "panet": (60.0, 60.1, 60.3), "bifpn": (60.0, 60.1, 60.4)},
            "and differs significantly from 1 of 2 others.",
        ),
        ({"fpn": (50.0,), "bifpn": (60.0,)}, "(1 seed); without repeated seeds its lead cannot be tested."),
        ({"bifpn": (60.0,)}, "BiFPN has AP 60.0 (1 seed)."),
    ],
)  # fmt: skip
def test_the_answer_says_what_is_best_and_whether_significantly(tmp_path: Path, aps: Any, end: str) -> None:
    runs, frontier = opened(tmp_path, with_aps(**aps))
    said = conclusion_words.answer(frontier, runs.table())
    assert said.startswith("BiFPN has ")
    assert said.endswith(end)


def test_an_interval_about_nothing_has_no_negative_zero() -> None:
    assert interval(-0.04, 0.04) == "[0.0, 0.0]"
    assert interval(-0.06, 12.34) == "[-0.1, 12.3]"
    assert interval(math.nan, math.nan) == "–"
