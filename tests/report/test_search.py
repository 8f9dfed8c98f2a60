"""The search in a report: how trials ended, and progress that real runs of two samplers leave, on one pair of axes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scaling_lab import DetectorSpec, Halving, topologies
from scaling_lab.report import compute_frontier
from scaling_lab.report.analysis.search_progress import progress
from scaling_lab.report.page.blocks import Figure, Table, Text
from scaling_lab.report.sections.search import search
from scaling_lab.runs.reader import Runs
from scaling_lab.study.run.runner import run_study
from tests.report.fixture_run import Fixture, Trial, topology_trials, write_run
from tests.study.engine import Replayed, count, make_study, spec


def broad(trial: Any) -> DetectorSpec:
    topology = getattr(topologies, trial.suggest_categorical("topology", ["none", "fpn", "panet"]))
    return spec(topology(3, 7), width=trial.suggest_int("width", 8, 200, step=8))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search with early stopping, and the same with --sampler random."""
    folder = tmp_path_factory.mktemp("runs")
    study = make_study(space=broad, sampler="tpe", trials=12, stopping=Halving(min_epochs=1))
    for name, sampler in (("s", None), ("s-random", "random")):
        options: dict[str, Any] = {"out": folder / name, "sampler": sampler, "executor": "local", "stream": None}
        run_study(study, count=count, objective=Replayed(), **options)
    return folder


def blocks(runs: Runs) -> tuple[Any, ...]:
    return search(runs, compute_frontier(runs)).blocks


def test_trials_are_counted_by_their_end(runs: Path) -> None:
    found = Runs(runs / "s")
    text, table, *_ = blocks(found)
    trials = found.table()
    stopped = trials[trials["state"] == "stopped"]
    assert isinstance(text, Text)
    assert isinstance(table, Table)
    saved = int((3 - stopped["epochs_done"]).sum())
    assert text.text.startswith(f"{len(stopped)} of 12 trials were stopped early, which saved {saved} of 36 epochs")
    assert int(table.frame["trials"].sum()) == 12
    assert int(table.frame["epochs"].sum()) == len(found.epochs())
    assert set(table.frame["ended"]) == {"complete", "stopped after 1 epoch"}


def test_both_searches_are_one_figure(runs: Path) -> None:
    figure = blocks(Runs(runs / "s"))[-1]
    assert isinstance(figure, Figure)
    table = figure.table
    assert table.groupby("sampler")["trials"].max().to_dict() == {"tpe": 12, "random": 12}
    for _, rows in table.groupby("sampler"):
        assert rows["value"].is_monotonic_increasing
        assert rows["hours"].is_monotonic_increasing
    assert 0 < table["value"].max() <= 100
    assert "does not show which sampler is better" in figure.caption
    assert len(figure.draw(table, 7.0).axes) == 2


def test_the_value_is_what_complete_trials_dominate(runs: Path) -> None:
    """Two objectives of two runs, by the cells below their points, against the whole front's."""
    named = {name: Runs(runs / folder) for name, folder in (("tpe", "s"), ("random", "s-random"))}
    complete = pd.concat([each.table() for each in named.values()])
    complete = complete[complete["state"] == "complete"]
    least, most = complete["ap"].min(), complete["gmacs"].max()

    def area(rows: pd.DataFrame) -> float:
        total, best = 0.0, least
        for _, row in rows.sort_values(["gmacs", "ap"], ascending=[True, False]).iterrows():
            total, best = total + (most - row["gmacs"]) * max(0.0, row["ap"] - best), max(best, row["ap"])
        return float(total)

    table = progress(named)
    last = table.groupby("sampler")["value"].last()
    for name, each in named.items():
        own = each.table()
        own = own[own["state"] == "complete"]
        assert last[name] == pytest.approx(100 * area(own) / area(complete))


def test_one_objective_is_the_best_so_far(tmp_path: Path) -> None:
    aps = (30.0, None, 50.0, 40.0)
    names = ("none", "fpn", "panet", "bifpn")
    trials = [
        Trial(topology=name, **({"state": "stopped"} if ap is None else {"ap": ap}))
        for name, ap in zip(names, aps, strict=True)
    ]
    meta = {"objectives": {"ap": "maximize"}, "sampler": "tpe", "protocol": trials[0].protocol}
    run = Runs(write_run(tmp_path / "run", Fixture(trials=trials, samples=0, meta=meta)))
    table = progress({"tpe": run})
    assert sorted(table["trials"]) == [1, 2, 3, 4]
    assert table["value"].iloc[-1] == 50.0
    assert table["quality"].iloc[0] == "Highest ap"


def test_what_random_search_there_is_not_is_said(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "s", tmp_path / "alone")
    note = blocks(Runs(tmp_path / "alone"))[-1]
    assert note.text.endswith("--sampler random writes alone-random.")
    other = Fixture(trials=topology_trials(seeds=(0,)), samples=0, meta={"protocol": "x"})
    write_run(tmp_path / "alone-random", other)
    assert blocks(Runs(tmp_path / "alone"))[-1].text == "alone-random differs in protocol, so it is not compared."
    assert isinstance(blocks(Runs(runs / "s-random"))[-1], Figure)


def test_a_grid_that_ran_to_its_end_has_no_such_section(tmp_path: Path) -> None:
    run = Runs(write_run(tmp_path / "run", Fixture(trials=topology_trials(seeds=(0,)), samples=0)))
    assert blocks(run) == ()
