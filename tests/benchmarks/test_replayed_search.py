"""The replayed table: its costs are counted, its AP is what its docstring says, and a search of it is ahead of chance."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks.replayed import ap_of_scale, architectures, costs, reach, true_ap
from benchmarks.replayed_rivals import Table, found
from benchmarks.replayed_search import Search, Truth, lead, observed
from scaling_lab import count, topologies

PUBLISHED = Path(__file__).parents[2] / "scaling_lab" / "report" / "published" / "published_detectors.csv"


def test_the_kept_costs_are_those_of_the_space() -> None:
    specs = architectures()
    assert set(costs()) == set(specs)
    assert len(specs) >= 500
    for spec in [*specs.values()][:: len(specs) // 4]:
        assert costs()[spec.digest].parts == count(spec).parts


def test_the_law_of_scale_fits_what_was_published() -> None:
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["detector"].startswith("efficientdet-paper:efficientdet-d")]
    assert len(rows) == 9
    for row in rows:
        if row["model"] <= "EfficientDet-D7":
            assert ap_of_scale(float(row["gflops_printed"]) / 2.5) == pytest.approx(float(row["ap_test"]), abs=0.6)


def test_reach_counts_paths_between_levels() -> None:
    cells = (topologies.none, topologies.fpn, topologies.panet)
    assert [reach(cell(3, 7)) for cell in cells] == [5 / 25, 15 / 25, 1.0]


def test_the_whole_table_is_all_of_its_front() -> None:
    truth, specs = Truth(), architectures()
    everything = {digest: true_ap(spec) for digest, spec in specs.items()}
    assert truth.share(everything) == 1.0
    assert 0 < truth.share(dict([*everything.items()][:50])) < 1.0


def test_a_lead_has_an_interval_about_it() -> None:
    difference, low, high = lead([0.9, 0.95, 1.0], [0.5, 0.55, 0.6])
    assert difference == pytest.approx(0.4)
    assert 0.3 <= low < difference < high <= 0.5


def test_the_law_that_the_bound_knows_is_the_law_of_the_table() -> None:
    table = Table()
    mean_A, covariance_AA = table.law
    rest_A = np.array([true_ap(spec) for spec in table.specs]) - mean_A
    explained = float(rest_A @ np.linalg.solve(covariance_AA, rest_A)) / len(rest_A)
    assert 0.85 < explained < 1.15  # a chi-square over its 660 degrees of freedom


def test_who_knows_the_law_finds_more_than_chance() -> None:
    table, truth = Table(), Truth()
    front, trained = found(table, truth, "law", noise=0.8, seed=0, trials=40)
    few, same = found(table, truth, "law", noise=0.8, seed=0, trials=10)  # the random ones alone
    assert few < front <= trained <= 1.0
    assert same < trained


@pytest.mark.slow
def test_a_search_is_the_same_again_trains_nothing_twice_and_is_ahead_of_chance() -> None:
    truth = Truth()
    found = {
        sampler: [Search(sampler=sampler, seed=seed, trials=66)() for seed in (0, 1)] for sampler in ("random", "tpe")
    }
    again = Search(sampler="random", seed=0, trials=66)()
    assert observed(again) == observed(found["random"][0])
    for each in (*found["random"], *found["tpe"]):
        assert len(observed(each)) == 66
    shares = {sampler: [truth.share(observed(each)) for each in both] for sampler, both in found.items()}
    assert min(shares["tpe"]) > max(shares["random"])
