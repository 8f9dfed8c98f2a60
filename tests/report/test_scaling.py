"""The section on scaling: a law for each family, and what it says of a model that is not there."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from scaling_lab.report import compute_frontier
from scaling_lab.report.analysis import scaling_points
from scaling_lab.report.page import svg
from scaling_lab.report.page.blocks import Bullets, Figure, Section, Table, Text
from scaling_lab.report.sections import scaling
from scaling_lab.runs.reader import Runs
from tests.report.fixture_run import GMACS, Fixture, Trial, write_run

WIDTHS = (16, 24, 32, 48, 64)
SHIFTS = (-0.2, 0.2)


def true_ap(topology: str, width: int) -> float:
    gmacs = GMACS[topology] * (width / 32) ** 1.5
    return {"fpn": 60, "bifpn": 70}[topology] - {"fpn": 6, "bifpn": 8}[topology] * (gmacs / 0.1) ** -0.5


def trials(widths: tuple[int, ...] = WIDTHS, shifts: tuple[float, ...] = SHIFTS) -> list[Trial]:
    return [
        Trial(topology=topology, width=width, seed=seed, ap=true_ap(topology, width) + shift)
        for topology in ("fpn", "bifpn")
        for width in widths
        for seed, shift in enumerate(shifts)
    ]


def section(folder: Path, some: list[Trial]) -> Section:
    runs = Runs(write_run(folder / "run", Fixture(trials=some, samples=0)))
    return scaling.scaling(runs, compute_frontier(runs), family="topology")


def test_a_law_is_fitted_to_each_family_and_predicts_the_next(tmp_path: Path) -> None:
    found = section(tmp_path, trials())
    (table,) = (block for block in found.blocks if isinstance(block, Table))
    laws = table.frame.set_index("family")
    assert laws.index.tolist() == ["bifpn", "fpn"]
    assert laws.loc["bifpn", "a"] == pytest.approx(70, abs=0.3)
    assert laws.loc["fpn", "a"] == pytest.approx(60, abs=0.3)
    for name, row in laws.iterrows():
        highest = GMACS[str(name)] * (64 / 32) ** 1.5
        assert row["next_gmacs"] == pytest.approx(2 * highest)
        truth = {"fpn": 60, "bifpn": 70}[str(name)] - {"fpn": 6, "bifpn": 8}[str(name)] * (2 * highest / 0.1) ** -0.5
        assert row["next_ap"] == pytest.approx(truth, abs=0.1)
        assert row["next_low"] < truth < row["next_high"]
        assert row["left_out"] < 0.5
    (bullets,) = (block for block in found.blocks if isinstance(block, Bullets))
    assert [lead for lead, _ in bullets.items] == [
        "bifpn, 5 models:", "bifpn, leave-one-out:", "fpn, 5 models:", "fpn, leave-one-out:",
    ]  # fmt: skip
    runs = Runs(tmp_path / "run")
    answer = scaling.answer(runs, compute_frontier(runs), family="topology")
    assert answer.startswith(f"Scaling bifpn predicts AP {laws.loc['bifpn', 'next_ap']:.1f} (95 % CI ")
    assert answer.endswith("GMACs, the highest of 2 families.")


def test_the_prediction_has_the_law_and_the_expected_mean_of_training_runs(tmp_path: Path) -> None:
    found = section(tmp_path, trials())
    (table,) = (block for block in found.blocks if isinstance(block, Table))
    for _, row in table.frame.iterrows():
        assert row["expected_low"] < row["next_low"] < row["next_ap"] < row["next_high"] < row["expected_high"]
        assert row["misfit_p"] > 0.05
    (bullets,) = (block for block in found.blocks if isinstance(block, Bullets))
    assert not any("misfit" in lead for lead, _ in bullets.items)


def test_models_off_the_law_are_said_to_be(tmp_path: Path) -> None:
    odd = [dataclasses.replace(trial, ap=trial.ap + (3.0 if trial.width == 32 else 0.0)) for trial in trials()]
    (bullets,) = (block for block in section(tmp_path, odd).blocks if isinstance(block, Bullets))
    assert "bifpn, misfit:" in dict(bullets.items)


@pytest.mark.parametrize("width", [8.0, 3.7])
def test_the_figure_shows_every_model_and_the_law_beyond(tmp_path: Path, width: float) -> None:
    found = section(tmp_path, trials())
    (figure,) = (block for block in found.blocks if isinstance(block, Figure))
    (axes,) = figure.draw(figure.table, width).axes
    dots = [points for points in axes.collections if hasattr(points, "get_offsets") and len(points.get_offsets()) == 5]
    assert len(dots) == 2
    assert max(float(line.get_xdata()[-1]) for line in axes.lines) == pytest.approx(2 * GMACS["bifpn"] * 2**1.5)


def test_one_seed_each_has_a_guide_and_no_law(tmp_path: Path) -> None:
    found = section(tmp_path, trials(shifts=(0.0,)))
    bullets, figure = found.blocks
    assert isinstance(bullets, Bullets)
    assert isinstance(figure, Figure)
    said = "one seed each, so no law can be tested."
    assert [text for _, text in bullets.items] == [said, said]
    assert "band" not in figure.caption
    (axes,) = figure.draw(figure.table, 8.0).axes
    highest = max(GMACS.values()) * 2**1.5
    assert max(float(line.get_xdata()[-1]) for line in axes.lines) <= highest
    assert {line.get_linestyle() for line in axes.lines} == {":"}


@pytest.mark.parametrize("shifts", [(0.0,), SHIFTS])
@pytest.mark.parametrize("slope", [0.0, -0.1])
def test_where_ap_does_not_grow_it_is_said(tmp_path: Path, shifts: tuple[float, ...], slope: float) -> None:
    level = [
        dataclasses.replace(trial, ap=40.0 + slope * trial.width + shifts[trial.seed])
        for trial in trials(shifts=shifts)
    ]
    bullets, figure, *tables = section(tmp_path, level).blocks
    assert isinstance(bullets, Bullets)
    assert isinstance(figure, Figure)
    assert figure.table["gmacs"].max() <= max(GMACS.values()) * 2**1.5
    assert all(isinstance(each, Table) and each.frame["next_ap"].isna().all() for each in tables)
    assert len(tables) == (len(shifts) > 1)
    for _, text in bullets.items:
        assert text.startswith(
            "AP does not grow with cost" if len(shifts) == 1 else "AP grows with cost by no more than"
        )
        assert "predicted" not in text


@pytest.mark.parametrize("some", [[], trials(widths=(16, 32, 64))])
def test_too_few_models_have_no_law(tmp_path: Path, some: list[Trial]) -> None:
    (block,) = section(tmp_path, some).blocks
    assert isinstance(block, Text)
    assert "A scaling law needs 4 architectures of different cost in one family" in block.text


def test_law_curves_are_those_of_the_section(tmp_path: Path) -> None:
    frontier = compute_frontier(Runs(write_run(tmp_path / "run", Fixture(trials=trials(), samples=0))))
    points = scaling_points.family_points(frontier, "topology")
    curves = scaling_points.law_curves(points, (frontier.sd, frontier.degrees))
    (figure,) = (block for block in section(tmp_path / "again", trials()).blocks if isinstance(block, Figure))
    drawn = figure.table[figure.table["ap_law"].notna()]
    assert sorted(drawn["ap_law"]) == pytest.approx(sorted(curves["ap_law"]))
    assert (curves["low"] < curves["ap_law"]).all()
    without = scaling_points.law_curves(points)
    assert without["ap_law"].tolist() == curves["ap_law"].tolist()
    assert without["low"].isna().all()
    assert scaling_points.law_curves(points.groupby("family").head(3)).empty, "three costs are too few"


def test_the_figure_is_drawn_from_its_csv_alone(tmp_path: Path) -> None:
    found = section(tmp_path, trials())
    (figure,) = (block for block in found.blocks if isinstance(block, Figure))
    figure.table.to_csv(tmp_path / "scaling.csv", index=False)
    read = dataclasses.replace(figure, table=pd.read_csv(tmp_path / "scaling.csv"))
    assert svg.svg_file(svg.drawn(read, 8.0)) == svg.svg_file(svg.drawn(figure, 8.0))
    (axes,) = svg.drawn(figure, 8.0).axes
    assert len(axes.collections) >= 2 + 2 * 5  # a band and a mark for each family, an interval for each model
