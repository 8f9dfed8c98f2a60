"""Trials of other fidelities are shown and named, and are on no front."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaling_lab.report import Frontier
from scaling_lab.report.analysis.other_fidelities import fidelity_words, other_trials
from scaling_lab.report.figures import style
from scaling_lab.report.figures.fidelity_figure import MARKERS, fidelity_figure
from scaling_lab.report.page import svg
from scaling_lab.report.page.blocks import Figure
from scaling_lab.report.sections import overview
from scaling_lab.runs.reader import Runs
from tests.report.fixture_run import Trial, opened, topology_trials

NAME = "ap_against_gmacs_fidelities"
COMPARED = topology_trials((0, 1, 2), ("fpn", "bifpn"))
OTHERS = [
    Trial(topology="bifpn", seed=5, epochs=12, ap=90.0),
    Trial(topology="fpn", seed=5, protocol="bbbb00001111", ap=80.0),
    Trial(topology="panet", seed=6, protocol="bbbb00001111", ap=81.0),
    Trial(topology="none", seed=5, state="stopped", ap=31.0),
]


def figures_of(runs: Runs, frontier: Frontier) -> dict[str, Figure]:
    return {b.name: b for b in overview.accuracy_and_cost(runs, frontier).blocks if isinstance(b, Figure)}


def test_a_fidelity_is_named_by_epochs_and_protocol() -> None:
    assert fidelity_words(12, "ab12cdef0000") == "12 epochs, protocol ab12cd"
    assert fidelity_words(1, "ab12cdef0000", planned=6) == "stopped after 1 of 6 epochs, protocol ab12cd"


def test_each_trial_that_is_not_compared_has_its_fidelity(tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, [*COMPARED, *OTHERS])
    table = other_trials(runs, frontier)
    assert table[["fidelity", "state"]].to_numpy().tolist() == [
        ["6 epochs, protocol bbbb00", "complete"],
        ["6 epochs, protocol bbbb00", "complete"],
        ["12 epochs, protocol aaaa00", "complete"],
        [
            "stopped after 2 of 6 epochs, protocol aaaa00",
            "stopped",
        ],  # evaluated in every second epoch, stopped after the third
    ]
    epochs = runs.epochs()
    stopped = table.iloc[-1]
    expected = epochs[(epochs["trial"] == stopped["trial"]) & epochs["ap"].notna()].iloc[-1]
    assert (stopped["ap"], stopped["epochs"]) == (expected["ap"], expected["epoch"])
    assert not set(table["trial"]) & set(frontier.trials["trial"])


def test_the_figure_has_a_marker_for_each_and_one_front(tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, [*COMPARED, *OTHERS])
    figure = figures_of(runs, frontier)[NAME]
    for width in (style.WIDE, style.NARROW):
        drawn = figure.draw(figure.table, width)
        names = [text.get_text() for text in drawn.legends[0].get_texts()]
        assert names == [
            "front: 6 epochs, protocol aaaa00", "6 epochs, protocol bbbb00", "12 epochs, protocol aaaa00",
            "stopped after 2 of 6 epochs, protocol aaaa00",
        ]  # fmt: skip
        fronts = [line for line in drawn.axes[0].lines if line.get_drawstyle() == "steps-post"]
        assert len(fronts) == 1
        assert max(fronts[0].get_ydata()) == frontier.architectures["ap_mean"].max() < 80.0
        low, high = drawn.axes[0].get_ylim()
        assert low < 15.0 < 90.0 < high
    assert (
        "6 epochs, protocol bbbb00 (2 trials); 12 epochs, protocol aaaa00 (1 trial); stopped after 2" in figure.caption
    )
    assert "on no front and in no interval" in figure.caption
    assert figure.table["compared"].tolist() == [True] * 6 + [False] * 4
    assert not figure.table.loc[~figure.table["compared"], "on_front"].any()


def test_other_fidelities_leave_all_else_as_it_is(tmp_path: Path) -> None:
    alone, together = (
        opened(tmp_path / name, trials) for name, trials in (("a", COMPARED), ("b", [*COMPARED, *OTHERS]))
    )
    before, after = figures_of(*alone), figures_of(*together)
    assert NAME not in before
    assert set(after) == {*before, NAME}
    for name, figure in before.items():
        # A third and fourth topology in the run do not change these two's labels, series, intervals or bytes.
        assert svg.svg_file(svg.drawn(after[name], 8.0)) == svg.svg_file(svg.drawn(figure, 8.0))


def test_many_kinds_share_a_marker_and_are_counted(tmp_path: Path) -> None:
    others = [Trial(topology="fpn", seed=9 + k, epochs=20 + k, ap=50.0) for k in range(len(MARKERS) + 3)]
    runs, frontier = opened(tmp_path, [*COMPARED, *others])
    figure = figures_of(runs, frontier)[NAME]
    legend = fidelity_figure(figure.table).legends[0]
    assert legend.get_texts()[-1].get_text() == "3 other fidelities"
    assert "; 3 other fidelities. They" in figure.caption


@pytest.mark.parametrize(
    "trials", [[], [Trial(topology="fpn", state="stopped")], [Trial(topology="fpn", state="failed")]]
)
def test_nothing_compared_gives_no_figure(tmp_path: Path, trials: list[Trial]) -> None:
    assert figures_of(*opened(tmp_path, trials)) == {}
