"""Early AP against final AP: correlations by epoch against scipy, rungs, survivors, and nothing to rank."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from scaling_lab import Halving
from scaling_lab.report import compute_frontier
from scaling_lab.report.analysis import rung_ranks
from scaling_lab.report.page.blocks import Bullets, Figure, Section, Table, Text
from scaling_lab.report.sections import rungs
from scaling_lab.runs.reader import Runs
from tests.report.fixture_run import TRUE_AP, Fixture, Trial, write_run

EPOCHS = 12
EVALUATED = (2, 4, 6, 8, 10)
POINTS = list(itertools.product(TRUE_AP, (16, 24, 32, 48)))


def made(seeds: int = 2, points: Any = POINTS, evaluated: tuple[int, ...] = EVALUATED, **more: Any) -> list[Trial]:
    """Trials of which AP at an epoch is final AP with noise that ends with the training."""
    draw = np.random.default_rng(0)
    found = []
    for topology, width in points:
        truth = draw.normal(45, 5)
        for seed in range(seeds):
            ap = float(truth + draw.normal())
            early = {epoch: max(0.1, ap + float(draw.normal(0, 8 * (1 - epoch / EPOCHS)))) for epoch in evaluated}
            found.append(Trial(topology=topology, width=width, seed=seed, ap=ap, epochs=EPOCHS, early=early, **more))
    return found


def runs_of(folder: Path, trials: list[Trial], **meta: Any) -> Runs:
    return Runs(write_run(folder / "run", Fixture(trials=trials, samples=0, meta=meta)))


def section(runs: Runs) -> Section:
    return rungs.rungs(runs, compute_frontier(runs))


def only(found: Section, kind: type) -> Any:
    (block,) = (block for block in found.blocks if isinstance(block, kind))
    return block


def test_correlations_are_scipys_at_each_evaluated_epoch(tmp_path: Path) -> None:
    trials = made()
    runs = runs_of(tmp_path, trials)
    table = rung_ranks.correlations(runs, compute_frontier(runs)).set_index("epoch")
    assert table.index.tolist() == list(EVALUATED)
    final = [trial.ap for trial in trials]
    for epoch, row in table.iterrows():
        early = [trial.early[int(str(epoch))] for trial in trials]
        assert row["tau"] == pytest.approx(scipy.stats.kendalltau(early, final).statistic)
        assert row["spearman"] == pytest.approx(scipy.stats.spearmanr(early, final).statistic)
        assert row["tau_low"] < row["tau"] < row["tau_high"]
        first = np.array(final)[np.argsort(early)[::-1]]
        assert row["regret_3"] == pytest.approx(max(final) - first[:3].max())
        assert row["place"] == 1 + sum(each > early[int(np.argmax(final))] for each in early)
    assert table.loc[10, "tau"] > table.loc[2, "tau"]
    assert (table["trials"] == 48).all()
    assert (table["architectures"] == 24).all()


def test_seeds_of_one_architecture_are_no_architectures(tmp_path: Path) -> None:
    """The same trials as one architecture's several seeds tell less than as many architectures."""
    draw = np.random.default_rng(1)
    same = []
    for topology, width in POINTS:
        ap = float(draw.normal(45, 5))
        early = {2: ap + float(draw.normal(0, 4))}
        same += [Trial(topology=topology, width=width, seed=seed, ap=ap, epochs=4, early=early) for seed in range(3)]
    for number, trials in enumerate((same, same[::3])):
        runs = runs_of(tmp_path / str(number), trials)
        (row,) = rung_ranks.correlations(runs, compute_frontier(runs)).to_dict("records")
        assert (row["trials"], row["architectures"]) == (len(trials), 24)
        width = row["tau_high"] - row["tau_low"]
        assert 0.2 < width < 0.6  # three equal copies do not make it shorter


def test_the_interval_is_the_jackknife_over_architectures(tmp_path: Path) -> None:
    """Each architecture left out with both its trials; on the plain scale, from which the report's differs little here."""
    trials = made()
    runs = runs_of(tmp_path, trials)
    row = rung_ranks.correlations(runs, compute_frontier(runs)).set_index("epoch").loc[2]
    pairs = np.array([(trial.early[2], trial.ap) for trial in trials])
    kept = np.repeat(np.arange(24), 2)
    without = np.array([scipy.stats.kendalltau(*pairs[kept != each].T).statistic for each in range(24)])
    half = scipy.stats.t.ppf(0.975, 22) * float(np.sqrt(23 * without.var()))
    assert row["tau_high"] - row["tau_low"] == pytest.approx(2 * half, rel=0.1)


def test_captions_tell_an_interval_from_the_middle_of_resamples(tmp_path: Path) -> None:
    found = section(runs_of(tmp_path, made()))
    assert "shaded are 95 % jackknife intervals over architectures" in only(found, Figure).caption
    assert "not a 95 % interval" in only(found, Table).caption
    few = section(runs_of(tmp_path / "few", made(seeds=1, points=POINTS[:4])))
    (_, many), (_, four) = only(found, Bullets).items[0], only(few, Bullets).items[0]
    assert "[" in many
    assert "[" not in four


def test_rungs_are_the_rules_own(tmp_path: Path) -> None:
    for number, stopping in enumerate((Halving(min_epochs=2), Halving(min_epochs=4, factor=2), None)):
        meta = {"stopping": None if stopping is None else stopping.to_dict()}
        runs = runs_of(tmp_path / str(number), made(seeds=1), **meta)
        expected = () if stopping is None else stopping.rungs(EPOCHS)
        assert rung_ranks.rung_epochs(runs, EPOCHS) == expected
        table = rung_ranks.correlations(runs, compute_frontier(runs))
        assert table.loc[table["is_rung"], "epoch"].tolist() == list(expected)


def test_many_epochs_are_thinned_and_rungs_kept(tmp_path: Path) -> None:
    evaluated = tuple(range(1, EPOCHS))
    runs = runs_of(tmp_path, made(seeds=1, evaluated=evaluated), stopping={"min_epochs": 3, "factor": 3})
    table = rung_ranks.correlations(runs, compute_frontier(runs))
    assert len(table) == rung_ranks.MOST_EPOCHS + 2
    assert {1, 3, 9, 11} <= set(table["epoch"])


def test_it_is_said_whether_survivors_are_all(tmp_path: Path) -> None:
    stopping = {"min_epochs": 4, "factor": 3}
    whole = dict(only(section(runs_of(tmp_path / "a", made(), stopping=stopping)), Bullets).items)
    assert whole["Selection:"].startswith("no trial was stopped early")
    assert "After 4 epochs (33 % of training, first rung):" in whole
    assert "the best 1/3" in whole["Rank then of the trial that ends best:"]
    stopped = [Trial(topology="fpn", width=64, seed=seed, epochs=EPOCHS, state="stopped") for seed in (0, 1)]
    some = dict(only(section(runs_of(tmp_path / "b", [*made(), *stopped], stopping=stopping)), Bullets).items)
    assert some["Selection:"].startswith("2 trials stopped early are missing")
    assert "1/3" not in some["Rank then of the trial that ends best:"]
    plain = dict(only(section(runs_of(tmp_path / "c", made())), Bullets).items)
    assert "After 2 epochs (17 % of training):" in plain


@pytest.mark.parametrize("width", [8.0, 3.7])
def test_the_figure_has_tau_and_its_band_by_epoch(tmp_path: Path, width: float) -> None:
    figure = only(section(runs_of(tmp_path, made(seeds=1), stopping={"min_epochs": 2, "factor": 3})), Figure)
    (axes,) = figure.draw(figure.table, width).axes
    line = axes.lines[0]
    assert list(line.get_xdata()) == list(EVALUATED)
    assert list(line.get_ydata()) == figure.table["tau"].tolist()
    bottom, top = axes.get_ylim()
    assert bottom < figure.table["tau_low"].min()
    assert top > figure.table["tau_high"].max()


def test_the_table_has_a_row_for_each_epoch(tmp_path: Path) -> None:
    table = only(section(runs_of(tmp_path, made(seeds=1, points=POINTS[:4]))), Table)
    assert len(table.frame) == len(EVALUATED)
    assert set(table.frame["regret_5_text"]) == {"–"}  # the best five of four are all
    assert {column.key for column in table.columns} <= set(table.frame)


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        (made(points=POINTS[:3]), "A rank correlation needs 4 architectures with complete trials; this run has 3."),
        ([Trial(topology=name, ap=30.0) for name in TRUE_AP], "All complete trials have the same AP"),
        ([Trial(topology=name, epochs=1) for name in TRUE_AP], "AP was not evaluated before the last epoch"),
    ],
)
def test_what_cannot_be_ranked_is_said(tmp_path: Path, trials: list[Trial], expected: str) -> None:
    (text,) = section(runs_of(tmp_path, trials)).blocks
    assert isinstance(text, Text)
    assert expected in text.text


@pytest.mark.parametrize(
    "trials", [[], [Trial(topology="fpn", state="failed")], [Trial(topology="fpn", state="stopped")]]
)
def test_without_complete_trials_there_is_no_section(tmp_path: Path, trials: list[Trial]) -> None:
    assert section(runs_of(tmp_path, trials)).blocks == ()


def test_equal_early_values_tell_nothing(tmp_path: Path) -> None:
    trials = [Trial(topology=name, ap=30.0 + place, epochs=4, early={2: 0.0}) for place, name in enumerate(TRUE_AP)]
    found = section(runs_of(tmp_path, trials))
    assert "all trials have the same AP" in only(found, Bullets).items[0][1]
    figure = only(found, Figure)
    assert figure.draw(figure.table, 8.0).axes
