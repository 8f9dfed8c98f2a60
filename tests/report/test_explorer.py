"""What the explorer is given: its words and the order of its colours; test_browser.py has how it behaves."""

from __future__ import annotations

import math
from pathlib import Path

from scaling_lab.report.page.blocks import Explorer
from scaling_lab.report.sections import explorer
from tests.report.fixture_run import opened, topology_trials


def test_numbers_are_in_order_though_one_is_missing() -> None:
    assert [str(value) for value in explorer._in_order([3.0, math.nan, 1.0, 2.0, math.nan])] == [
        "1.0",
        "2.0",
        "3.0",
        "nan",
    ]
    assert explorer._in_order(["b", "a", "b"]) == ["b", "a"]


def test_the_caption_names_seeds_and_intervals_only_where_there_are_some(tmp_path: Path) -> None:
    for name, seeds, several in (("one", (0,), False), ("three", (0, 1, 2), True)):
        section = explorer.explore(*opened(tmp_path / name, topology_trials(seeds=seeds)))
        (block,) = section.blocks
        assert isinstance(block, Explorer)
        assert ("95 % intervals" in block.caption) == several
        assert ("trained once" in block.caption) != several
