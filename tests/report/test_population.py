"""Populations at matched cost: chance is what the tests say it is, planted effects are found, and every case has its words."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scaling_lab.report import compute_frontier, write_report
from scaling_lab.report.analysis.choice_importance import choice_importance, grouped, texts
from scaling_lab.report.analysis.distributions import distributions, population_table
from scaling_lab.report.figures.population_figures import distribution_figure, importance_figure
from scaling_lab.report.page.blocks import Bullets, Figure, Section, Table, Text
from scaling_lab.report.sections import population
from scaling_lab.runs.reader import Runs
from scaling_lab.stats import variance_shares
from tests.report.fixture_run import GMACS, Fixture, Trial, topology_trials, write_run

# --- importance ------------------------------------------------------------------------------------------------------


def test_a_choice_that_buys_cost_is_worth_nothing_once_cost_is_taken_out() -> None:
    random = np.random.default_rng(2)
    table = pd.DataFrame(
        {"param_width": random.integers(8, 200, 300), "param_topology": random.choice(list("abc"), 300)}
    )
    log = np.log2(table["param_width"])
    table["gmacs"] = 2.0**log
    table["ap"] = 5 * log + table["param_topology"].map({"a": 0, "b": 1, "c": 2}) + random.normal(0, 0.5, 300)
    found = choice_importance(table)
    rows = found.table.set_index("choice")
    assert rows.index[0] == "width"
    assert rows.loc["width", "share"] > 0.7
    assert rows.loc["width", "rest"] < found.rest_chance
    assert rows.loc["topology", "rest"] > 0.6
    assert rows.loc["topology", "rest_low"] > found.rest_chance
    assert found.cost > 0.85


def test_a_choice_that_not_all_have_counts_for_those_that_have_it() -> None:
    """With topology "none" there is no fusion; that "none" is bad must not make fusion important."""
    random = np.random.default_rng(3)
    beyond = []
    for seed in range(60):
        topology = random.choice(["none", "fpn"], 120)
        fusion = pd.Series(np.where(topology == "fpn", random.choice(["sum", "fast"], 120), None))
        values = np.where(topology == "fpn", 50.0, 10.0) + random.normal(0, 1, 120)
        codes = {"topology": grouped(pd.Series(topology)), "fusion": grouped(fusion)}
        found, chance = variance_shares.shares(values, codes, seed=seed)
        assert found["topology"].value > 0.95
        assert found["fusion"].n == (topology == "fpn").sum()
        beyond.append(found["fusion"].value > chance)
    assert np.mean(beyond) < 0.12


@pytest.mark.parametrize(
    ("values", "sizes"),
    [
        (list(range(50)), [10] * 5),
        ([1, 2, 3] * 10, [10] * 3),
        ([1.0, 2.0, math.nan] * 10, [10] * 2),
        ([True, False, None] * 8, [8] * 2),
        ([*"a" * 10, *"b" * 10, "c", "d", "e", "f"], [10, 10, 4]),  # rare ones together
        ([*"a" * 10, *"b" * 10, "c"], [10, 10]),
    ],
)
def test_values_are_grouped(values: list[Any], sizes: list[int]) -> None:
    codes = grouped(pd.Series(values))
    assert np.bincount(codes[codes >= 0]).tolist() == sizes


# --- the section -----------------------------------------------------------------------------------------------------

EFFECT = {"fpn": 0.0, "panet": 0.2, "bifpn": 4.0}


def trials(names: tuple[str, ...] = ("fpn", "panet", "bifpn"), count: int = 40, seeds: int = 1) -> list[Trial]:
    """Give architectures of random widths whose AP is of cost and topology; the second seed is worse."""
    random = np.random.default_rng(5)
    found = []
    for name in names:
        for width in random.choice(np.arange(16, 160), count, replace=False):
            ap = 30 + EFFECT.get(name, 0.0) + 4 * math.log2(width / 32) + random.normal(0, 1)
            found += [
                Trial(topology=name, width=int(width), seed=seed, ap=float(ap - 5 * seed)) for seed in range(seeds)
            ]
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    fixture = Fixture(
        trials=trials(seeds=2), samples=0, meta={"sampler": "random", "protocol": Trial(topology="fpn").protocol}
    )
    return Runs(write_run(tmp_path_factory.mktemp("population") / "run", fixture))


def said(section: Section) -> str:
    words = []
    for block in section.blocks:
        if isinstance(block, Text):
            words.append(block.text)
        elif isinstance(block, Bullets):
            words += [f"{lead} {text}" for lead, text in block.items]
        elif isinstance(block, Figure):
            words.append(block.caption)
    return "\n".join(words)


def section_of(folder: Path, some: list[Trial], *, by: str | None = None, **meta: Any) -> Section:
    run = Runs(write_run(folder / "run", Fixture(trials=some, samples=0, meta=meta)))
    return population.population(run, compute_frontier(run), by=by)


def test_the_population_is_one_training_of_each_architecture(runs: Runs) -> None:
    table = population_table(compute_frontier(runs))
    assert len(table) == 120
    assert (table["seed"] == 0).all()
    assert table["architecture"].is_unique


def test_what_differs_is_told_and_what_does_not_is_not(runs: Runs) -> None:
    section = population.population(runs, compute_frontier(runs))
    words = said(section)
    assert "BiFPN against FPN: +" in words
    assert "at matched cost, significant (p < 0.001)" in words
    assert "BiFPN against PANet: +" in words
    pair = next(line for line in words.splitlines() if {"FPN", "PANet"} <= set(line.replace(":", " ").split()[:3]))
    assert ", not significant (p " in pair
    assert "Explains AP at equal cost: topology " in words
    assert population.answer(runs, compute_frontier(runs)).startswith(
        "Topology explains most of the AP variance left after removing cost: "
    )
    figures = {block.name: block for block in section.blocks if isinstance(block, Figure)}
    assert list(figures) == ["distribution_of_ap_by_topology", "importance"]
    edf = figures["distribution_of_ap_by_topology"].table
    assert edf.groupby("group")["weight"].sum().to_numpy() == pytest.approx(1.0)
    assert edf.groupby("group")["share"].last().to_numpy() == pytest.approx(1.0)
    assert edf["group"].iloc[0] == "BiFPN"
    for name in ("BiFPN", "PANet", "FPN"):
        assert f"{name} {(edf['group'] == name).sum()} of 40" in figures["distribution_of_ap_by_topology"].caption
    tables = [block for block in section.blocks if isinstance(block, Table)]
    assert [table.name for table in tables] == ["pairs_by_topology", "importance_of_choices"]
    pairs = tables[0].frame
    assert (pairs["difference"] >= 0).all()
    assert (pairs["p_holm"] >= pairs["p"]).all()
    between = pairs.set_index(["first", "second"]).loc[("BiFPN", "FPN")]
    # At the same cost FPN is wider: the 4 AP of its topology are less by what that width brings.
    true = EFFECT["bifpn"] - 4 * math.log2(GMACS["bifpn"] / GMACS["fpn"]) / 1.5
    assert between["low"] < true < between["high"]


def test_the_same_run_gives_the_same_section(runs: Runs) -> None:
    one, other = (population.population(runs, compute_frontier(runs)) for _ in range(2))
    assert said(one) == said(other)


def test_a_named_choice_is_shown_or_missed(runs: Runs) -> None:
    frontier = compute_frontier(runs)
    assert "no choice 'colour' to group by; its choices are topology and width" in said(
        population.population(runs, frontier, by="colour")
    )
    assert "Width: fewer than two values have 8 architectures" in said(
        population.population(runs, frontier, by="width")
    )
    assert "AP by topology" in [b.title.partition(",")[0] for b in population.population(runs, frontier, by="topology").blocks
                                if isinstance(b, Figure)]  # fmt: skip


def test_many_values_are_told_in_one_sentence(tmp_path: Path) -> None:
    names = ("none", "fpn", "panet", "bifpn")
    words = said(section_of(tmp_path, trials(names, count=12), sampler="random"))
    assert " of 6 pairs" not in words  # six are told one by one
    names = (*names, "nas_fpn")
    words = said(section_of(tmp_path / "more", trials(names, count=12), sampler="random"))
    assert " of 10 pairs of values of topology differ significantly at matched cost; most, BiFPN against " in words


def test_values_at_other_costs_are_not_compared(tmp_path: Path) -> None:
    some = [Trial(topology=name, width=width, ap=30.0 + width / 10)
            for name, widths in (("fpn", range(16, 28)), ("panet", range(100, 112))) for width in widths]  # fmt: skip
    assert "No two values of topology have 5 architectures or more at shared costs" in said(section_of(tmp_path, some))
    some += [Trial(topology="bifpn", width=width, ap=31.0 + width / 10) for width in range(14, 26)]
    words = said(section_of(tmp_path / "three", some))
    assert "Too few at shared costs: PANet." in words
    assert "not compared: one has fewer than 5 at shared costs." in words


def test_what_biases_the_population_is_told(tmp_path: Path) -> None:
    some = [*trials(count=10), Trial(topology="none", state="stopped"), Trial(topology="none", seed=1, state="failed")]
    words = said(section_of(tmp_path, some, sampler="tpe"))
    assert "The tpe sampler chose by earlier results" in words
    assert "Trials without a final AP are missing (1 stopped and 1 failed)" in words
    assert "sampler chose" not in said(section_of(tmp_path / "grid", some))


@pytest.mark.parametrize(
    ("some", "expected"),
    [
        ([], "No architecture has a complete trial."),
        ([Trial(topology="fpn", state="failed")], "No architecture has a complete trial."),
        ([Trial(topology="fpn", ap=40.0)], "1 architecture, with AP 40.0: no population."),
        (topology_trials(), "No choice has 2 to 6 values"),
        (topology_trials(), "The importance of choices is not computed from 6 architectures"),
        ([dataclasses.replace(each, ap=0.0) for each in trials(count=10)], "all have the same AP"),
        ([dataclasses.replace(each, ap=0.0) for each in trials(count=10)], "not significant (p 1.000)"),
    ],
)
def test_nothing_to_compare_is_told(tmp_path: Path, some: list[Trial], expected: str) -> None:
    assert expected in said(section_of(tmp_path, some))


def test_spaces_are_compared_where_they_share_a_protocol(runs: Runs, tmp_path: Path) -> None:
    both = {}
    for name in ("fpn", "bifpn"):
        run = Runs(write_run(tmp_path / name, Fixture(trials=trials((name,)), samples=0)))
        both[name] = compute_frontier(run)
    section = population.compare_spaces(both)
    assert "fpn: 40 architectures; bifpn: 40 architectures." in said(section)
    assert "bifpn against fpn: +" in said(section)
    assert "at matched cost, significant (p " in said(section)
    assert isinstance(section.blocks[2], Figure)
    other = [dataclasses.replace(each, protocol="bbbb") for each in trials(("fpn",))]
    run = Runs(write_run(tmp_path / "other", Fixture(trials=other, samples=0)))
    text = "The runs differ in protocol or epochs"
    assert text in said(population.compare_spaces({**both, "other": compute_frontier(run)}))
    assert "Fewer than two runs" in said(population.compare_spaces({"fpn": both["fpn"]}))
    again = population.compare_spaces({"one": both["fpn"], "same": both["fpn"]})
    assert "40 architectures of several spaces count in each." in said(again)
    assert ", not significant (p 1.000)" in said(again)


def test_values_are_written_as_they_were_chosen() -> None:
    assert texts(pd.Series([1.0, 2.0, math.nan])).tolist()[:2] == ["1", "2"]
    assert texts(pd.Series([0.5, 1.35])).tolist() == ["0.5", "1.35"]
    assert texts(pd.Series([True, None], dtype=object)).isna().tolist() == [False, True]


def test_a_choice_with_a_slash_in_its_name_has_files(runs: Runs) -> None:
    """Optuna's names may hold one, and a file's may not."""
    table = population_table(compute_frontier(runs)).rename(columns={"param_topology": "param_network/topology"})
    (figure,) = (block for block in population._by_choice(table, "network/topology") if isinstance(block, Figure))
    assert figure.name == "distribution_of_ap_by_network_topology"


@pytest.mark.parametrize("width", [8.0, 3.7])
def test_the_figures_show_what_is_in_their_tables(runs: Runs, width: float) -> None:
    table = population_table(compute_frontier(runs))
    edf = distributions(table.assign(group=table["param_topology"])).edf
    (axes,) = distribution_figure(edf, width).axes
    assert len(axes.lines) == 3
    for line, (_, rows) in zip(axes.lines, edf.groupby("group", sort=False), strict=True):
        assert np.asarray(line.get_ydata())[1:-1] == pytest.approx(100 * rows["share"].to_numpy())
    found = choice_importance(table)
    shown = found.table.assign(chance=found.chance, rest_chance=found.rest_chance)
    (axes,) = importance_figure(shown, width).axes
    assert [bar.get_width() for bar in axes.patches][:2] == pytest.approx((100 * shown["share"])[::-1].tolist())
    assert [text.get_text() for text in axes.get_yticklabels()] == shown["choice"].tolist()[::-1]


@pytest.mark.slow
def test_the_report_is_written(runs: Runs, run: Path, tmp_path: Path) -> None:
    report = Path(__file__).parents[2] / "reports" / "population.py"
    page = write_report(runs.path, report, tmp_path / "one", compact=True).read_text()
    assert "Which choice explains AP?" in page
    assert "Population" in write_report(run, report, tmp_path / "other", compact=True).read_text()
