"""The grid over one parameter: what is best, with what probability, and where nothing can be said."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaling_lab.report import compute_frontier, write_report
from scaling_lab.report.analysis import grid_values
from scaling_lab.report.figures.grid_figures import best_figure, grid_figure
from scaling_lab.report.page.blocks import Bullets, Figure, Section, Table, Text
from scaling_lab.report.sections import grid
from scaling_lab.runs.reader import Runs
from tests.report.fixture_run import Fixture, Trial, write_run

APS = {16: (30.0, 30.4, 29.6), 24: (40.0, 40.4, 39.6), 32: (40.1, 40.5, 39.7)}


def section(folder: Path, trials: list[Trial], *, paper: float | None = 24) -> Section:
    runs = Runs(write_run(folder / "run", Fixture(trials=trials, samples=0)))
    return grid.grid(runs, compute_frontier(runs), "width", paper=paper)


def trials(aps: dict[int, tuple[float, ...]]) -> list[Trial]:
    return [
        Trial(topology="bifpn", width=width, seed=seed, ap=ap)
        for width, values in aps.items()
        for seed, ap in enumerate(values)
    ]


def texts(found: Section) -> str:
    bullets = [block for block in found.blocks if isinstance(block, Bullets)]
    return " ".join(f"{lead} {text}" for block in bullets for lead, text in block.items)


def test_the_best_value_is_a_distribution(tmp_path: Path) -> None:
    found = section(tmp_path, trials(APS))
    figures = {block.name: block for block in found.blocks if isinstance(block, Figure)}
    chances = figures["best_width"].table.set_index("value")["probability"]
    assert chances.sum() == pytest.approx(1.0)
    assert chances[16] == 0.0
    assert 0.2 < chances[24] < chances[32] < 0.8
    said = texts(found)
    assert "Range of mean AP: 30.0 (width 16) to 40.1 (32)." in said
    assert "With 95 % posterior probability the best value is one of 24 and 32." in said
    assert "The paper chose 24 on COCO and reports no AP for other values; " in said
    assert f"here its probability of being the best is {chances[24]:.2f}." in said
    frontier = compute_frontier(Runs(tmp_path / "run"))
    answer = f"Width 32 has the highest mean AP, 40.1; the probability that it is the best value is {chances[32]:.2f}."
    assert grid.answer(Runs(tmp_path / "run"), frontier, "width") == answer
    (table,) = (block for block in found.blocks if isinstance(block, Table))
    assert table.frame["value"].tolist() == [16, 24, 32]
    assert table.frame["n"].tolist() == [3, 3, 3]


def test_what_a_value_costs_has_no_say_in_how_probably_it_is_the_best(tmp_path: Path) -> None:
    """The same seeds' APs, rising with cost or out of order: a curve of AP by cost would tell the two apart."""
    groups = [tuple(30.0 + step + shift for shift in (-0.8, 0.1, 0.7)) for step in range(9)]
    widths, chances = range(16, 88, 8), []
    for name, order in (("rising", range(9)), ("mixed", (3, 8, 1, 6, 0, 5, 7, 2, 4))):
        some = trials(dict(zip(widths, [groups[place] for place in order], strict=True)))
        frontier = compute_frontier(Runs(write_run(tmp_path / name, Fixture(trials=some, samples=0))))
        found = grid_values.best_values(frontier, grid_values.grid_table(frontier, "width"))
        chances.append(sorted(found["probability"]))
        assert found["value"][found["probability"].idxmax()] == list(widths)[list(order).index(8)]
    assert chances[0] == pytest.approx(chances[1])
    assert 0.5 < chances[0][-1] < 0.95


def test_a_clear_winner_is_told(tmp_path: Path) -> None:
    said = texts(section(tmp_path, trials({**APS, 32: (60.0, 60.4, 59.6)}), paper=None))
    assert "With 95 % posterior probability the best value is 32." in said
    assert "The paper" not in said


def test_what_hangs_on_outliers_is_told(tmp_path: Path) -> None:
    """Without its one bad seed the paper's value is the best; the draws of all seeds stay the first answer."""
    said = texts(section(tmp_path / "none", trials(APS)))
    assert "Without" not in said
    aps = {16: (30.0, 30.4, 29.6, 30.1), 24: (44.0, 44.4, 43.6, 10.0), 32: (40.1, 40.5, 39.7, 40.0)}
    said = texts(section(tmp_path / "one", trials(aps)))
    assert "to 40.1 (32)." in said
    assert "Without the 1 outlier 24 is the best value with probability 1.00." in said


def test_one_seed_supports_no_claim(tmp_path: Path) -> None:
    found = section(tmp_path, trials({width: values[:1] for width, values in APS.items()}))
    assert "Not tested." in texts(found)
    assert [block.name for block in found.blocks if isinstance(block, Figure)] == ["ap_by_width"]


@pytest.mark.parametrize("some", [{}, {16: APS[16]}])
def test_nothing_to_choose_from_is_told(tmp_path: Path, some: dict[int, tuple[float, ...]]) -> None:
    (block,) = section(tmp_path, trials(some)).blocks
    assert isinstance(block, Text)
    assert "no two values of width with complete trials" in block.text


@pytest.mark.parametrize("width", [8.0, 3.7])
def test_figures_draw_every_seed(tmp_path: Path, width: float) -> None:
    found = section(tmp_path, trials(APS))
    figures = {block.name: block.table for block in found.blocks if isinstance(block, Figure)}
    above, below = grid_figure(figures["ap_by_width"], width, name="width", paper=24).axes
    dots = [tuple(point) for points in above.collections for point in getattr(points, "get_offsets", list)()]
    assert {round(float(y), 1) for _, y in dots} >= {round(ap, 1) for values in APS.values() for ap in values}
    assert below.get_xlabel() == "width"
    (axes,) = best_figure(figures["best_width"], width, name="width", paper=24).axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx(
        (100 * figures["best_width"]["probability"]).tolist()
    )
    assert axes.get_xticklabels()[1].get_text() == "24\nthe paper's"


def test_the_report_of_another_study_says_what_it_lacks(run: Path, tmp_path: Path) -> None:
    page = write_report(run, Path(__file__).parents[2] / "reports" / "width_factor.py", tmp_path, compact=True)
    assert "No two values of width factor have complete trials" in page.read_text()


def test_a_grid_has_a_line_for_each_word_and_needs_no_name(tmp_path: Path) -> None:
    some = [
        Trial(topology=topology, width=width, seed=seed, ap=ap)
        for topology in ("fpn", "bifpn")
        for width, values in APS.items()
        for seed, ap in enumerate(values)
    ]
    frontier = compute_frontier(Runs(write_run(tmp_path / "run", Fixture(trials=some, samples=0))))
    table = grid_values.grid_table(frontier, "width", scale="topology")
    drawn = grid_figure(table)
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["bifpn", "fpn"]
    assert [line.get_xdata().tolist() for line in drawn.axes[0].lines] == [[16, 24, 32]] * 2
    alone = grid_figure(table[table["value"] == 16])
    seeds = [xy for marks in alone.axes[0].collections for xy in getattr(marks, "get_offsets", list)()]
    assert sum(float(x) == 16.0 for x, _ in seeds) == 8, (
        "two means and six seeds, though there is no step between values"
    )
