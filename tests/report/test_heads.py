"""The kind of head is shown where it differs within a run, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaling_lab.report.page.blocks import Details, Table
from scaling_lab.report.sections.architectures import architectures
from scaling_lab.report.sections.explorer import explorer_data
from tests.report.fixture_run import Trial, opened

BOTH = [Trial(topology="bifpn", seed=seed, head=head) for head in ("anchors", "points") for seed in (0, 1)]
ANCHORS = [Trial(topology=name, seed=seed) for name in ("bifpn", "fpn") for seed in (0, 1)]


@pytest.mark.parametrize(("trials", "is_shown"), [(BOTH, True), (ANCHORS, False)])
def test_the_head_is_shown_where_it_differs(trials: list[Trial], is_shown: bool, tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, trials)
    (made_of,) = (
        block for block in architectures(runs, frontier).blocks if isinstance(block, Details) and block.title == "Specs"
    )
    (table,) = made_of.blocks
    assert isinstance(table, Table)
    assert ("Head" in [column.label for column in table.columns]) == is_shown
    data = explorer_data(runs, frontier)
    assert ("Head" in [way["label"] for way in data["colours"]]) == is_shown
    heads = [fact for each in data["details"].values() for fact in each["facts"] if fact[0] == "Head"]
    assert heads == ([("Head", "points")] if is_shown else [])
    assert (set(frontier.labels.values()) == {"anchors", "points"}) == is_shown
