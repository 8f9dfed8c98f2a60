"""Finalists: the best of a search, found from the ledger alone, trained to the end with seeds that chose nobody."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from scaling_lab import Finalists, Halving
from scaling_lab.errors import UserError
from scaling_lab.runs.reader import Runs
from scaling_lab.study.run.runner import run_study
from tests.faults.afterwards import look_at
from tests.study.desk import Desk
from tests.study.engine import Replayed, count, make_study, rows, some_cores, start_driver, wait_for

BY_AP = {"objectives": {"ap": "maximize"}}
# The six points in the grid's order, which are numbered from 1.
NONE_16, NONE_32, FPN_16, FPN_32, BIFPN_16, BIFPN_32 = range(1, 7)


def finals(desk: Desk) -> list[tuple[dict[str, Any], int, str]]:
    return [(row.params, row.seed, row.role) for row in desk.ledger.trials() if row.role != "search"]


def points(desk: Desk) -> set[tuple[str, int]]:
    return {(params["topology"], params["width"]) for params, _, _ in finals(desk)}


def search(desk: Desk, aps: dict[int, float | str]) -> None:
    """Run the trials of the search; each has its AP, or the state in which it ends."""
    for trial in aps:
        proposal = desk.proposals.next()
        assert proposal is not None
        assert proposal.trial == trial
        ap = aps[trial]
        desk.run(proposal, **({"state": ap} if isinstance(ap, str) else {"ap": ap}))


def run(out: Path, *, executor: str = "local", **changes: Any) -> str:
    stream = io.StringIO()
    cpus = some_cores(executor)
    study = make_study(**changes)
    run_study(study, out=out, executor=executor, cpus=cpus, count=count, objective=Replayed(), stream=stream)
    return stream.getvalue()


def test_the_best_of_one_objective_get_every_fresh_seed(tmp_path: Path) -> None:
    desk = Desk(tmp_path, finalists=Finalists(count=2, seeds=(7, 8)), **BY_AP)
    assert desk.proposals.planned == 6 + 4
    search(desk, {1: 10.0, 2: 50.0, 3: "failed", 4: "stopped", 5: 30.0, 6: 20.0})
    found = desk.run_all()
    assert [(p.seed, p.params["topology"], p.params["width"]) for p in found] == [
        (seed, *point) for seed in (7, 8) for point in (("none", 32), ("bifpn", 16))
    ]
    assert {role for _, _, role in finals(desk)} == {"finalist"}
    assert desk.proposals.planned == 10
    assert not desk.proposals.waits
    assert len(desk.said) == 1
    assert desk.said[0].startswith("finalists, retrained with fresh seeds 7, 8: ")


def test_none_are_chosen_while_the_search_runs(tmp_path: Path) -> None:
    desk = Desk(tmp_path, finalists=Finalists(count=1, seeds=(7,)), **BY_AP)
    running = [desk.proposals.next() for _ in range(6)]
    assert desk.proposals.next() is None
    assert desk.proposals.waits
    for proposal in running[1:]:
        assert proposal is not None
        desk.run(proposal)
    assert desk.proposals.next() is None
    assert running[0] is not None
    desk.run(running[0], ap=99.0)
    (final,) = desk.run_all()
    assert final.params == running[0].params


def test_of_several_objectives_the_front_is_spread_and_then_filled(tmp_path: Path) -> None:
    """GMACs are 0.96, 1.92, 0.96, 1.92, 1.44, 2.88: none 16, bifpn 16 and bifpn 32 are the front."""
    aps: dict[int, float | str] = {NONE_16: 20, NONE_32: 25, FPN_16: 19, FPN_32: 26, BIFPN_16: 30, BIFPN_32: 31}
    for number, chosen in (
        (2, {("none", 16), ("bifpn", 32)}),
        (3, {("none", 16), ("bifpn", 16), ("bifpn", 32)}),
        (4, {("none", 16), ("bifpn", 16), ("bifpn", 32), ("fpn", 16)}),
        (9, {(name, width) for name in ("none", "fpn", "bifpn") for width in (16, 32)}),
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        desk = Desk(folder, finalists=Finalists(count=number, seeds=(7,)))
        search(desk, aps)
        desk.run_all()
        assert points(desk) == chosen
        assert desk.proposals.planned == 6 + min(number, 6)


def test_several_seeds_of_the_search_are_averaged(tmp_path: Path) -> None:
    desk = Desk(tmp_path, seeds=(0, 1), finalists=Finalists(count=1, seeds=(7,)), **BY_AP)
    search(desk, dict.fromkeys(range(1, 7), 40.0) | {7: 50.0, 8: 60.0, 9: 0, 10: 0, 11: "failed", 12: 0})
    assert [(p.params["topology"], p.params["width"]) for p in desk.run_all()] == [("none", 32)]


def test_the_choice_is_the_same_after_a_restart_and_needs_no_fresh_result(tmp_path: Path) -> None:
    desk = Desk(tmp_path, finalists=Finalists(count=2, seeds=(7, 8)), **BY_AP)
    search(desk, {1: 10.0, 2: 50.0, 3: 40.0, 4: 30.0, 5: 20.0, 6: 60.0})
    first = desk.proposals.next()
    assert first is not None
    desk.run(first, ap=0.0)  # by its fresh seed it would not be chosen
    before = finals(desk)
    desk.restart()
    assert desk.proposals.planned == 10
    assert len(desk.run_all()) == 3
    assert finals(desk) == before


def test_a_search_that_goes_on_chooses_anew_and_keeps_what_was_trained(tmp_path: Path) -> None:
    desk = Desk(tmp_path, trials=2, finalists=Finalists(count=1, seeds=(7, 8)), **BY_AP)
    search(desk, {1: 10.0, 2: 50.0})
    first = desk.proposals.next()
    assert first is not None
    desk.run(first)
    desk.restart(make_study(finalists=Finalists(count=1, seeds=(7, 8)), **BY_AP))
    trials = [row.id for row in desk.ledger.trials() if row.role == "search" and row.state == "planned"]
    search(desk, dict.fromkeys(trials, 60.0))
    desk.run_all()
    assert [(params["topology"], seed) for params, seed, _ in finals(desk)] == [("none", 7), ("fpn", 7), ("fpn", 8)]


def test_the_baseline_is_trained_beside_them_though_a_limit_refuses_it(tmp_path: Path) -> None:
    changes = {"baseline": {"topology": "bifpn", "width": 32}, "limits": {"gmacs": 2.0}, **BY_AP}
    desk = Desk(tmp_path, finalists=Finalists(count=1, seeds=(7, 8), baseline=True), **changes)
    search(desk, {1: 10.0, 2: 50.0, 3: 40.0, 4: 30.0, 5: 20.0})
    assert desk.proposals.planned == 5 + 4
    desk.run_all()
    assert [(params["topology"], params["width"], seed, role) for params, seed, role in finals(desk)] == [
        ("none", 32, 7, "finalist"),
        ("bifpn", 32, 7, "baseline"),
        ("none", 32, 8, "finalist"),
        ("bifpn", 32, 8, "baseline"),
    ]


def test_seeds_that_the_run_has_used_are_not_fresh(tmp_path: Path) -> None:
    desk = Desk(tmp_path, seeds=(0, 7), finalists=Finalists(count=1, seeds=(8,)), **BY_AP)
    desk.run_all()
    with pytest.raises(UserError, match=r"finalists\.seeds has 7 in common with the search; allowed are fresh"):
        desk.restart(make_study(finalists=Finalists(count=1, seeds=(7,)), **BY_AP))
    with pytest.raises(UserError, match="seeds has 8, which this run's finalists used; choose"):
        desk.restart(make_study(seeds=(8,), **BY_AP))


@pytest.mark.slow
def test_both_executors_give_the_same(tmp_path: Path) -> None:
    changes = {"finalists": Finalists(count=2, seeds=(2, 1)), **BY_AP}
    for executor in ("local", "ray"):
        said = run(tmp_path / executor, executor=executor, **changes)
        assert "finalists, retrained with fresh seeds 2, 1: " in said
        assert said.splitlines()[-1] == "all 10 trials are done"
    found = rows(tmp_path / "local")
    assert sorted(rows(tmp_path / "ray"), key=str) == sorted(found, key=str)  # two at once end in either order
    assert [row["role"] for row in found] == ["search"] * 6 + ["finalist"] * 4


def test_no_finalist_is_stopped_early(tmp_path: Path) -> None:
    """Two of the six are stopped in the search, and are no candidates though five are wanted."""
    finalists = Finalists(count=5, seeds=(2, 1))
    said = run(tmp_path, stopping=Halving(min_epochs=1), finalists=finalists, **BY_AP)
    found = rows(tmp_path)
    assert [row["state"] for row in found[:6]].count("stopped") == 2
    assert [row["state"] for row in found[6:]] == ["complete"] * 8
    assert said.splitlines()[-1].startswith("all 14 trials are done, 2 of them stopped early")


@pytest.mark.slow
def test_a_kill_among_the_finalists_changes_nothing(tmp_path: Path) -> None:
    values = {"count": 2, "seeds": (7, 8)}
    study = {**BY_AP, "finalists": values}
    driver = start_driver(tmp_path / "killed", executor="local", objective={"hold": 8}, study=study)
    wait_for(lambda: (tmp_path / "killed" / "trials" / "8" / "checkpoint.pt").exists())
    driver.kill()
    driver.communicate(timeout=300)
    look_at(tmp_path / "killed")
    changes = {**BY_AP, "finalists": Finalists(**values)}
    run(tmp_path / "killed", **changes)
    run(tmp_path / "whole", **changes)
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    assert Runs(tmp_path / "killed").table()["role"].value_counts().to_dict() == {"search": 6, "finalist": 4}
    look_at(tmp_path / "killed")
