"""What a model of a search's trials predicts and believes, in a report: its numbers, figure and sentences."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from scaling_lab.report import Frontier
from scaling_lab.report.analysis import search_beliefs as analysis
from scaling_lab.report.analysis.search_beliefs import Beliefs, Inside, search_beliefs
from scaling_lab.report.figures.beliefs_figure import INSIDE, OUTSIDE, beliefs_figure
from scaling_lab.report.figures.style import PAPER
from scaling_lab.report.page.blocks import Bullets, Figure, Table, Text
from scaling_lab.report.sections.beliefs import beliefs
from scaling_lab.report.sections.conclusion_words import Bullet
from scaling_lab.runs.reader import Runs
from scaling_lab.stats import ranks
from scaling_lab.stats.belief import Belief, Seen
from tests.report.fixture_run import TRUE_AP, Trial, digest_of, opened

META = {"sampler": "ehvi", "protocol": Trial(topology="fpn").protocol}
WIDTHS = (16, 32, 48, 64)
LUCKY = Trial(topology="fully_connected", width=16, ap=60.0)


def of_search() -> list[Trial]:
    """AP rises with width and by topology, with noise of 3; one trial is 12 above that. Eight architectures have two seeds."""
    chance = np.random.default_rng(0)

    def trial(topology: str, width: int, seed: int = 0) -> Trial:
        ap = TRUE_AP[topology] + width / 8 + chance.normal(0, 3)
        return Trial(topology=topology, width=width, seed=seed, ap=float(ap))

    first = [trial(name, width) for name in TRUE_AP for width in WIDTHS if (name, width) != ("fully_connected", 16)]
    further = [trial(name, width, 1) for name in ("bifpn", "fpn") for width in WIDTHS]
    return [*first[:10], LUCKY, *first[10:], *further]


ENDED = [Trial(topology="none", width=80, state="stopped"), Trial(topology="none", width=96, state="failed")]
FRESH = [Trial(topology="bifpn", width=64, seed=seed, ap=60.0 + seed - 100, role="finalist") for seed in (100, 102)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Runs, Frontier]:
    """A search with its finalist, a stopped and a failed trial, and trials that are not modelled."""
    others = [
        Trial(topology="none", width=112, protocol="other", ap=99.0),
        Trial(topology="none", width=128, state="running"),
    ]
    return opened(tmp_path_factory.mktemp("made"), [*of_search(), *ENDED, *FRESH, *others], **META)


@pytest.fixture(scope="module")
def found(made: tuple[Runs, Frontier]) -> Beliefs:
    found = search_beliefs(*made)
    assert found is not None
    return found


def bullets(runs: Runs, frontier: Frontier) -> dict[str, str]:
    (block,) = (block for block in beliefs(runs, frontier).blocks if isinstance(block, Bullets))
    items: tuple[Bullet, ...] = block.items
    return dict(items)


def test_the_process_is_that_of_the_search(made: tuple[Runs, Frontier], found: Beliefs) -> None:
    costs = made[0].table().set_index("trial")[["gmacs", "params_m", "memory_mb"]]
    trials = [*of_search(), ENDED[0]]
    seen = [
        Seen(
            architecture=digest_of(trial),
            params={"topology": trial.topology, "width": trial.width},
            costs={str(name): float(value) for name, value in costs.loc[number].items()},
            state=trial.state,
            value=math.nan if trial.ap is None else trial.ap,
        )
        for number, trial in enumerate(trials, start=1)
    ]
    belief = Belief(seen)
    mean, deviation = (each.tolist() for each in belief.predicted())
    predicted = dict(zip(belief.known, zip(mean, deviation, strict=True), strict=True))
    table = found.architectures.set_index("architecture")
    assert table["believed"].to_dict() == pytest.approx(belief.believed())
    for digest, row in table.iterrows():
        assert (row["predicted"], row["predicted_sd"]) == pytest.approx(predicted[str(digest)])
    assert found.noise == pytest.approx(belief.process.noise)
    assert table["believed"].is_monotonic_decreasing


def test_trials_are_listed_with_their_values_and_order(found: Beliefs) -> None:
    trials = of_search()
    assert found.trials["found"].tolist() == pytest.approx([trial.ap for trial in trials])
    assert found.trials["order"].tolist() == list(range(1, 33))
    assert found.trials["is_further"].tolist() == [False] * 24 + [True] * 8
    assert ((found.trials["high"] - found.trials["low"]) / found.trials["predicted_sd"]).tolist() == pytest.approx(
        [3.92] * 32, abs=1e-3
    )
    assert found.spent == [digest_of(trial) for trial in [*trials, *ENDED]]
    assert found.left_out == 0


def test_a_lucky_trial_is_observed_on_the_front_and_not_believed(found: Beliefs) -> None:
    table = found.architectures.set_index("architecture")
    lucky = table.loc[digest_of(LUCKY)]
    assert lucky["found"] == 60.0
    assert lucky["believed"] < lucky["found"] - 3
    assert (lucky["on_found"], lucky["on_believed"]) == (True, False)
    for which, column in (("found", "found"), ("believed", "believed")):
        for _, row in table.iterrows():
            better = (table[column] >= row[column]) & (table["gmacs"] <= row["gmacs"])
            better &= (table[column] > row[column]) | (table["gmacs"] < row["gmacs"])
            assert row[f"on_{which}"] == (not better.any())


def test_fresh_seeds_are_those_of_finalists(found: Beliefs) -> None:
    table = found.architectures.set_index("architecture")
    assert table["n_fresh"].sum() == 2
    finalist = table.loc[digest_of(FRESH[0])]
    assert (finalist["fresh"], finalist["n"], finalist["n_fresh"]) == (61.0, 2, 2)


def test_agreement_and_calibration_are_counted(found: Beliefs) -> None:
    table, trials = found.architectures, found.trials
    assert found.tau.value == pytest.approx(ranks.tau(table["predicted"].tolist(), table["found"].tolist()))
    inside = sum(
        low <= value <= high for low, value, high in zip(trials["low"], trials["found"], trials["high"], strict=True)
    )
    assert found.inside(0.95) == Inside(count=inside, low=28, high=32)  # of 32: P(X < 28) = 0.02, P(X < 29) = 0.07
    assert found.inside(0.5).count < inside


def test_sentences_say_these_numbers(made: tuple[Runs, Frontier], found: Beliefs) -> None:
    said = bullets(*made)
    half, most, table = found.inside(0.5), found.inside(0.95), found.architectures
    assert said["Rank agreement:"].startswith(f"tau-b {found.tau.value:.2f} [")
    assert said["Calibration:"] == (
        f"{half.count} of 32 found values lie in their 50 % intervals, {most.count} in their 95 % intervals; 10–22 and 28–32 if "
        "calibrated."
    )
    # The two fresh seeds of 60 and 62 have an SD of 1.4.
    assert said["Seed noise:"] == (
        f"estimated SD {found.noise:.1f} AP, from 8 architectures with several seeds. Finalists' seeds: SD 1.4 AP."
    )
    front = table[table["on_believed"]]
    assert said["Trials:"] == (
        f"34, of 26 architectures, with 8 further seeds; {front['n'].sum()} of these trials on the {len(front)} architectures of "
        "the believed front."
    )
    lucky = table.set_index("architecture").loc[digest_of(LUCKY)]
    assert f"{lucky['label']} (believed {lucky['believed']:.1f}, found 60.0)" in said["On the observed front only:"]
    finalist = table.set_index("architecture").loc[digest_of(FRESH[0])]
    assert said["Fresh seeds:"] == (
        f"their mean differs by {abs(finalist['believed'] - 61):.1f} AP from the believed value and by "
        f"{abs(finalist['found'] - 61):.1f} AP from the found one, over 1 architecture."
    )
    assert all(len(f"{lead} {text}".split()) <= 25 for lead, text in said.items())


@pytest.mark.parametrize("width", [8.0, 3.7])
def test_the_figure_separates_misses_and_further_seeds(width: float, found: Beliefs) -> None:
    trials = found.trials
    outside = ~trials["found"].between(trials["low"], trials["high"])
    assert outside.any()
    figure = beliefs_figure(trials, width)
    (axes,) = figure.axes
    drawn: Counter[str] = Counter()
    for marks in axes.collections:
        if isinstance(marks, PathCollection):
            number = len(np.asarray(marks.get_offsets()))
            drawn[to_hex(marks.get_facecolor()[0])] += number
    is_first = ~trials["is_further"]
    assert drawn == {INSIDE: (is_first & ~outside).sum(), OUTSIDE: (is_first & outside).sum(), PAPER: 8}
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["found within the interval", "outside it", "further seed", "trial 1", "trial 32"]
    low, high = axes.get_xlim()
    assert (low, high) == axes.get_ylim()
    assert low < trials["found"].min() < trials["found"].max() < high


def test_one_objective_has_a_best_one_and_no_front(tmp_path: Path) -> None:
    said = bullets(*opened(tmp_path, of_search(), **META, objectives={"ap": "maximize"}))
    assert "what is believed best" in said["Trials:"]
    assert said["Best:"].startswith("believed")
    assert not any("front" in lead for lead in said)


def test_an_objective_to_minimise_is_in_its_own_units(tmp_path: Path) -> None:
    trials = of_search()
    found = search_beliefs(*opened(tmp_path / "down", trials, **META, objectives={"ap": "minimize"}))
    up = search_beliefs(*opened(tmp_path / "up", trials, **META, objectives={"ap": "maximize"}))
    assert found is not None
    assert up is not None
    both = found.architectures.merge(up.architectures, on="architecture", suffixes=("", "_up"))
    assert both["believed"].tolist() == pytest.approx(both["believed_up"].tolist(), abs=0.05)
    assert found.architectures["believed"].is_monotonic_increasing
    assert found.architectures.loc[found.architectures["on_found"], "found"].tolist() == [found.trials["found"].min()]


def test_other_samplers_and_few_architectures_have_a_note(tmp_path: Path) -> None:
    notes = [block.text for block in beliefs(*opened(tmp_path, of_search(), **{**META, "sampler": "tpe"})).blocks
             if isinstance(block, Text)]  # fmt: skip
    assert notes == [
        "The sampler tpe did not use this model; it was fitted to the ended trials. With 24 architectures, rank agreement and "
        "calibration are hardly known."
    ]


def test_many_trials_are_modelled_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaling_lab.stats.belief.MOST_MODELLED", 20)
    made = opened(tmp_path, of_search(), **META)
    found = search_beliefs(*made)
    assert found is not None
    assert (len(found.trials), found.left_out) == (20, 12)
    assert 60.0 in found.trials["found"].tolist()
    text = " ".join(block.text for block in beliefs(*made).blocks if isinstance(block, Text))
    assert "The best and the latest trials are modelled; 12 others are not." in text


def test_a_section_has_figure_and_table(made: tuple[Runs, Frontier], found: Beliefs) -> None:
    blocks = beliefs(*made).blocks
    (figure,) = (block for block in blocks if isinstance(block, Figure))
    (table,) = (block for block in blocks if isinstance(block, Table))
    assert len(figure.table) == 32
    assert figure.draw(figure.table, 8.0).axes
    assert len(table.frame) == 24
    assert {column.key for column in table.columns} <= set(table.frame)


@pytest.mark.parametrize("meta", [{"sampler": "grid"}, {"objectives": {"gmacs": "minimize"}}])
def test_a_run_without_a_search_for_accuracy_has_no_section(meta: dict[str, Any], tmp_path: Path) -> None:
    assert beliefs(*opened(tmp_path, of_search(), **{**META, **meta})).blocks == ()


def test_few_architectures_have_no_section(tmp_path: Path) -> None:
    for number in (analysis.LEAST - 1, analysis.LEAST):
        section = beliefs(*opened(tmp_path / str(number), of_search()[:number], **META))
        assert bool(section.blocks) == (number == analysis.LEAST)
