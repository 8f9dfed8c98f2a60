"""Which trials are compared, and what is computed of each architecture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from scaling_lab.report import Frontier, compute_frontier
from scaling_lab.report.analysis.frontier import MOST_BAND_COSTS, MOST_SERIES, _thinned
from scaling_lab.runs.reader import Runs
from scaling_lab.stats import estimates
from scaling_lab.stats.hypervolume import dominated_volume
from tests.report.fixture_run import Fixture, Trial, topology_trials, write_run


def computed(folder: Path, trials: list[Trial]) -> Frontier:
    return compute_frontier(Runs(write_run(folder / "run", Fixture(trials=trials, samples=0))))


def test_only_complete_trials_are_compared(frontier: Frontier) -> None:
    assert set(frontier.trials["state"]) == {"complete"}
    assert list(frontier.architectures["label"]) == ["BiFPN", "PANet", "FPN"]
    assert list(frontier.architectures["n"]) == [3, 3, 3]


def test_other_protocols_and_lengths_are_left_out(tmp_path: Path) -> None:
    trials = topology_trials((0, 1), ("fpn", "bifpn"))
    trials += [
        Trial(topology="bifpn", seed=5, ap=99.0, protocol="bbbb00001111"),
        Trial(topology="panet", ap=99.0, epochs=60),
    ]
    frontier = computed(tmp_path, trials)
    assert len(frontier.trials) == 4
    assert len(frontier.excluded) == 2
    assert frontier.trials["ap"].max() < 99.0
    assert "PANet" not in set(frontier.architectures["label"])


def test_few_seeds_borrow_the_spread_of_all(tmp_path: Path) -> None:
    values = {"fpn": (40.0, 42.0), "panet": (50.0, 50.5), "bifpn": (55.0,)}
    trials = [Trial(topology=name, seed=seed, ap=ap) for name, aps in values.items() for seed, ap in enumerate(aps)]
    frontier = computed(tmp_path, trials)
    sd = math.sqrt((2.0 + 0.125) / 2)
    assert frontier.sd == pytest.approx(sd)
    assert frontier.degrees == 2
    rows = frontier.architectures.set_index("label")
    half = 4.302653 * sd / math.sqrt(2)
    assert rows.loc["FPN", "ap_high"] - 41.0 == pytest.approx(half, rel=1e-6)
    assert rows.loc["PANet", "ap_high"] - 50.25 == pytest.approx(half, rel=1e-6)
    assert math.isnan(rows.loc["BiFPN", "ap_low"])
    assert rows.loc["BiFPN", "n"] == 1


def test_many_seeds_keep_their_own_spread(tmp_path: Path) -> None:
    aps = (50.0, 51.0, 52.0, 51.0)
    trials = [Trial(topology="panet", seed=seed, ap=ap) for seed, ap in enumerate(aps)]
    trials += [Trial(topology="fpn", seed=seed, ap=ap) for seed, ap in enumerate((10.0, 60.0))]
    row = computed(tmp_path, trials).architectures.set_index("label").loc["PANet"]
    assert row["ap_high"] == pytest.approx(estimates.estimate(aps).high)


def test_front_marks_what_nothing_beats(frontier: Frontier) -> None:
    rows = frontier.architectures.set_index("label")
    assert bool(rows.loc["BiFPN", "on_front"])
    assert bool(rows.loc["FPN", "on_front"])  # the cheapest


def test_series_are_for_the_front_where_there_are_too_many(tmp_path: Path) -> None:
    trials = [Trial(topology="bifpn", width=8 * k, ap=40.0 + (k if k < 4 else -k)) for k in range(1, 15)]
    frontier = computed(tmp_path, trials)
    coloured = frontier.architectures[frontier.architectures["series"] >= 0]
    assert len(coloured) == MOST_SERIES
    assert set(frontier.architectures.loc[frontier.architectures["on_front"], "series"]) <= set(range(MOST_SERIES))


@pytest.mark.parametrize(
    "trials", [[], [Trial(topology="fpn", state="failed")], [Trial(topology="fpn", state="planned")]]
)
def test_nothing_complete_gives_empty_tables(tmp_path: Path, trials: list[Trial]) -> None:
    frontier = computed(tmp_path, trials)
    assert frontier.trials.empty
    assert frontier.architectures.empty
    assert frontier.series == {}


def test_the_front_has_a_probability_a_band_and_a_volume(frontier: Frontier) -> None:
    table = frontier.architectures.assign(p=frontier.front_probability()).set_index("label")
    assert table["p"].between(0, 1).all()
    assert table.loc["FPN", "p"] == 1.0  # nothing is as cheap
    band = frontier.front_band()
    assert band["cost"].tolist() == sorted(table["gmacs"])
    assert (band["low"] < band["median"]).all()
    assert (band["median"] < band["high"]).all()
    assert band["median"].is_monotonic_increasing
    volume, reference = frontier.hypervolume()
    assert reference == (2 * table["gmacs"].max(), 0.0)
    points = list(zip(table["gmacs"].map(math.log2), -table["ap_mean"], strict=True))
    exact = dominated_volume(points, (math.log2(reference[0]), 0.0))
    assert volume.low < exact < volume.high


def test_one_seed_each_leaves_the_front_without_probability(tmp_path: Path) -> None:
    frontier = computed(tmp_path, topology_trials((0,)))
    assert frontier.front_probability().isna().all()
    assert frontier.front_band().empty
    assert math.isnan(frontier.hypervolume()[0].low)


def test_a_band_of_thousands_of_costs_is_thinned_evenly_and_keeps_both_ends() -> None:
    few = [0.1 * k for k in range(1, MOST_BAND_COSTS + 1)]
    assert _thinned(few) == few
    many = np.geomspace(0.01, 100.0, 5000).tolist()
    kept = _thinned(many)
    assert MOST_BAND_COSTS <= len(kept) <= MOST_BAND_COSTS + 1
    assert (kept[0], kept[-1]) == (many[0], many[-1])
    assert set(kept) <= set(many)
    assert np.diff(np.log(kept)).max() < 2.1 * np.log(1e4) / MOST_BAND_COSTS


def test_means_are_those_of_each_architectures_own_trials(tmp_path: Path) -> None:
    frontier = computed(tmp_path, topology_trials((0, 1, 2)))
    for row in frontier.architectures.to_dict("records"):
        own = frontier.trials[frontier.trials["architecture"] == row["architecture"]]
        for name in ("ap50", "ap75", "ap_small", "ap_medium", "seconds"):
            assert row[name] == pytest.approx(own[name].mean())
        assert math.isnan(row["ap_large"])  # never recorded
