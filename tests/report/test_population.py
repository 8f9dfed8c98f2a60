"""Populations at matched cost: chance is what the tests say it is, planted effects are found, and every case has its words."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scaling_lab.report import compute_frontier, population, write_report
from scaling_lab.report.blocks import Bullets, Figure, Section, Table, Text
from scaling_lab.report.choices import choice_importance, texts
from scaling_lab.report.distributions import distributions, population_table
from scaling_lab.report.population_figures import distribution_figure, importance_figure
from scaling_lab.runs import Runs
from scaling_lab.stats import matched_groups, variance_shares
from tests.report.fixture_run import GMACS, Fixture, Trial, topology_trials, write_run

Columns = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]


def differing_in_cost(random: np.random.Generator, first: int, second: int, *, shift: float = 0.0) -> Columns:
    """Give costs (logs), groups and APs: the second group is dearer, AP grows with cost and saturates."""
    costs = np.concatenate([random.beta(2, 4, first), random.beta(4, 2, second)]) * 4
    groups = np.repeat([0, 1], [first, second])
    return costs, groups, 20 * (1 - 2.0**-costs) + random.normal(0, 1, len(costs)) + shift * (groups == 0)


def matched(columns: Columns) -> tuple[np.ndarray[Any, Any], ...]:
    costs, groups, aps = columns
    bins = matched_groups.matched_bins(costs, groups)
    kept = bins >= 0
    return aps[kept], costs[kept], groups[kept] == 0, bins[kept]


# --- matching --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [(20, 20), (20, 200), (150, 150)])
def test_groups_that_differ_in_cost_alone_are_told_apart_as_often_as_chance_has_it(first: int, second: int) -> None:
    random = np.random.default_rng(0)
    found, unmatched = [], 0
    for seed in range(300):
        columns = differing_in_cost(random, first, second)
        kept = matched(columns)
        if len(kept[0]):
            found.append(matched_groups.compare(*kept, permutations=99, seed=seed))
        _, groups, aps = columns
        unmatched += stats.ks_2samp(aps[groups == 0], aps[groups == 1]).pvalue < 0.05
    assert unmatched > 0.7 * 300  # what matching is for
    assert len(found) > 200
    for ps in ([each.p_distance for each in found], [each.p_difference for each in found]):
        assert (
            0.45 < np.mean(ps) < 0.62
        )  # the distance's p is a little too large in small groups, for it takes few values
        assert np.mean(np.array(ps) <= 0.05) < 0.10  # 0.05, and what a curve within the wide bins of small groups adds
        assert np.mean(np.array(ps) <= 0.5) < 0.57
    assert np.mean([each.p <= 0.05 for each in found]) < 0.08
    assert 0.90 < np.mean([each.low <= 0 <= each.high for each in found]) < 0.99


def test_a_difference_at_the_same_cost_is_found() -> None:
    random = np.random.default_rng(1)
    found = [
        matched_groups.compare(*matched(differing_in_cost(random, 60, 60, shift=1.5)), permutations=199) for _ in range(60)
    ]
    assert np.mean([each.p < 0.05 for each in found]) > 0.95
    assert np.mean([each.difference for each in found]) == pytest.approx(1.5, abs=0.15)
    assert np.mean([each.low <= 1.5 <= each.high for each in found]) > 0.88


def test_a_difference_in_spread_is_found_by_the_distance() -> None:
    random = np.random.default_rng(2)
    costs, groups, _ = differing_in_cost(random, 150, 150)
    aps = random.normal(0, 1, 300) * np.where(groups == 0, 1, 4)
    found = matched_groups.compare(*matched((costs, groups, aps)))
    assert found.p_distance < 0.01
    assert found.p_difference > 0.05
    assert found.p == pytest.approx(2 * found.p_distance)


def test_without_costs_the_distance_is_kolmogorov_and_smirnovs() -> None:
    random = np.random.default_rng(3)
    aps, first = np.round(random.normal(0, 2, 60)), random.random(60) < 0.4  # with ties
    bins, costs = np.zeros(60, dtype=int), np.ones(60)
    found = matched_groups.compare(aps, costs, first, bins)
    oracle = stats.ks_2samp(aps[first], aps[~first])
    assert found.distance == pytest.approx(oracle.statistic)
    t = stats.ttest_ind(aps[first], aps[~first])
    assert found.difference == pytest.approx(aps[first].mean() - aps[~first].mean())
    interval = t.confidence_interval()
    assert (found.low, found.high) == pytest.approx(
        (interval.low, interval.high), abs=0.02
    )  # one degree is the slope's
    assert found.p_difference == pytest.approx(t.pvalue, abs=0.01)


def test_the_difference_is_that_of_a_linear_model() -> None:
    """One bin: the adjusted difference is the group's coefficient beside log cost, its interval ordinary least squares'."""
    random = np.random.default_rng(6)
    first, costs = np.arange(40) < 15, random.normal(0, 1, 40)
    values = 2 * costs + 0.7 * first + random.normal(0, 1, 40)
    found = matched_groups.compare(values, costs, first, np.zeros(40, dtype=int), permutations=9)
    design = np.column_stack([np.ones(40), first, costs])
    coefficients, squares, _, _ = np.linalg.lstsq(design, values)
    error = math.sqrt(squares[0] / 37 * np.linalg.inv(design.T @ design)[1, 1])
    assert found.difference == pytest.approx(coefficients[1])
    assert found.high - found.difference == pytest.approx(stats.t.ppf(0.975, 37) * error)
    assert found.p_difference == pytest.approx(2 * stats.t.sf(abs(coefficients[1]) / error, 37))


def test_weights_give_each_group_the_same_costs() -> None:
    costs, groups, _ = differing_in_cost(np.random.default_rng(4), 50, 90)
    bins = matched_groups.matched_bins(costs, groups)
    weights = matched_groups.weights(groups, bins)
    by_bin = [np.bincount(bins[(groups == g) & (bins >= 0)], weights[(groups == g) & (bins >= 0)]) for g in (0, 1)]
    assert by_bin[0] == pytest.approx(by_bin[1])
    assert by_bin[0].sum() == pytest.approx(1.0)
    assert not weights[bins < 0].any()
    assert set(bins) == {-1, *range(bins.max() + 1)}


def test_a_group_without_shared_costs_is_left_out_and_two_such_are_not_compared() -> None:
    costs = np.concatenate([np.linspace(0, 1, 20), np.linspace(0, 1, 20), np.linspace(5, 6, 20)])
    groups = np.repeat(["a", "b", "c"], 20)
    bins = matched_groups.matched_bins(costs, groups)
    assert set(groups[bins >= 0]) == {"a", "b"}
    assert (matched_groups.matched_bins(costs[20:], groups[20:]) == -1).all()
    assert (matched_groups.matched_bins([], []) == -1).all()


# --- importance ------------------------------------------------------------------------------------------------------


def test_the_share_is_the_corrected_one_of_an_analysis_of_variance() -> None:
    random = np.random.default_rng(0)
    codes = random.integers(0, 4, 60)
    values = codes + random.normal(0, 2, 60)
    f = stats.f_oneway(*(values[codes == code] for code in range(4))).statistic
    found, _ = variance_shares.shares(values, {"a": codes})
    assert found["a"].value == pytest.approx((f - 1) * 3 / (f * 3 + 56), abs=1e-5)  # Kelley 1935, in terms of F


def test_the_planted_choice_is_found_and_the_others_are_within_chance() -> None:
    random = np.random.default_rng(1)
    covered, beyond, nulls = [], [], []
    for seed in range(120):
        groups = {name: random.integers(0, number, 80) for name, number in (("planted", 4), ("b", 2), ("c", 6))}
        values = np.array([-1.5, -0.5, 0.5, 1.5])[groups["planted"]] + random.normal(0, 1, 80)
        found, chance = variance_shares.shares(values, groups, seed=seed)
        assert found["planted"].value > max(chance, found["b"].value, found["c"].value)
        covered.append(found["planted"].low <= 1.25 / 2.25 <= found["planted"].high)
        noise, line = variance_shares.shares(random.normal(0, 1, 80), groups, seed=seed)
        beyond.append(max(each.value for each in noise.values()) > line)
        nulls.append(noise["c"].value)
    assert 0.88 < np.mean(covered) < 0.99
    assert np.mean(beyond) < 0.11  # 5 % for all three together
    assert np.mean(nulls) == pytest.approx(0.0, abs=0.015)  # however many values a choice has


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
        codes = {"topology": variance_shares.grouped(pd.Series(topology)), "fusion": variance_shares.grouped(fusion)}
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
    codes = variance_shares.grouped(pd.Series(values))
    assert np.bincount(codes[codes >= 0]).tolist() == sizes


def test_what_is_all_equal_has_no_share() -> None:
    found, chance = variance_shares.shares([3.0] * 20, {"a": np.repeat([0, 1], 10)})
    assert math.isnan(found["a"].value)
    assert math.isnan(chance)
    rest, cost = variance_shares.without_cost([3.0] * 20, np.arange(20.0))
    assert cost == 0.0
    assert not rest.any()


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
    assert "GMACs: distinguishable (p < 0.001)" in words
    assert "BiFPN against PANet: +" in words
    pair = next(line for line in words.splitlines() if {"FPN", "PANet"} <= set(line.replace(":", " ").split()[:3]))
    assert ": not distinguishable (p " in pair
    assert "Explains AP once cost is taken out: topology " in words
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
    assert " of 10 pairs of values of topology can be told apart at matched cost; most, BiFPN against " in words


def test_values_at_other_costs_are_not_compared(tmp_path: Path) -> None:
    some = [Trial(topology=name, width=width, ap=30.0 + width / 10)
            for name, widths in (("fpn", range(16, 28)), ("panet", range(100, 112))) for width in widths]  # fmt: skip
    assert "No two values of topology have 5 architectures or more at shared costs" in said(section_of(tmp_path, some))
    some += [Trial(topology="bifpn", width=width, ap=31.0 + width / 10) for width in range(14, 26)]
    words = said(section_of(tmp_path / "three", some))
    assert "Not drawn, for too few at costs that the other values of topology have: PANet." in words
    assert "not compared, for fewer than 5 of one have costs that the other has too." in words


def test_what_biases_the_population_is_told(tmp_path: Path) -> None:
    some = [*trials(count=10), Trial(topology="none", state="stopped"), Trial(topology="none", seed=1, state="failed")]
    words = said(section_of(tmp_path, some, sampler="tpe"))
    assert "The tpe sampler chose these architectures" in words
    assert "Trials without a final AP are missing (1 stopped and 1 failed)" in words
    assert "sampler chose" not in said(section_of(tmp_path / "grid", some))


@pytest.mark.parametrize(
    ("some", "expected"),
    [
        ([], "No architecture has a complete trial."),
        ([Trial(topology="fpn", state="failed")], "No architecture has a complete trial."),
        ([Trial(topology="fpn", ap=40.0)], "1 architecture, with AP 40.0: no population."),
        (topology_trials(), "No choice of the space has 2 to 6 values"),
        (topology_trials(), "Which choice matters is not computed from 6 architectures"),
        ([dataclasses.replace(each, ap=0.0) for each in trials(count=10)], "all have the same AP"),
        ([dataclasses.replace(each, ap=0.0) for each in trials(count=10)], "not distinguishable (p 1.000)"),
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
    assert "GMACs: distinguishable" in said(section)
    assert isinstance(section.blocks[2], Figure)
    other = [dataclasses.replace(each, protocol="bbbb") for each in trials(("fpn",))]
    run = Runs(write_run(tmp_path / "other", Fixture(trials=other, samples=0)))
    text = "The runs differ in protocol or epochs"
    assert text in said(population.compare_spaces({**both, "other": compute_frontier(run)}))
    assert "Fewer than two runs" in said(population.compare_spaces({"fpn": both["fpn"]}))
    again = population.compare_spaces({"one": both["fpn"], "same": both["fpn"]})
    assert "40 architectures of several spaces count in each." in said(again)
    assert ": not distinguishable (p 1.000)" in said(again)


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


def test_the_report_is_written(runs: Runs, run: Path, tmp_path: Path) -> None:
    report = Path(__file__).parents[2] / "reports" / "population.py"
    page = write_report(runs.path, report, tmp_path / "one").read_text()
    assert "Which choice explains AP?" in page
    assert "Population" in write_report(run, report, tmp_path / "other").read_text()
