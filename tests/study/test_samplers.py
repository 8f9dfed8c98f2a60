"""Every sampler: one and several objectives, limits, conditional spaces, the same again for a seed, and going on after a stop."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from scaling_lab import DetectorSpec, topologies
from scaling_lab.errors import UserError
from scaling_lab.study.ledger.database import TrialRow
from scaling_lab.study.samplers import SAMPLERS, Sampler
from scaling_lab.study.search.strategy import END, Params, Strategy
from tests.study.desk import Desk, wide
from tests.study.engine import count, spec

USUAL = ("random", "tpe", "nsga2")
SEARCHES = [
    pytest.param(name, marks=() if name in USUAL else pytest.mark.slow)
    for name, sampler in SAMPLERS.items()
    if not sampler.is_exhaustive
]
OBJECTIVES = [
    pytest.param({"ap": "maximize"}, id="one", marks=pytest.mark.slow),
    pytest.param({"ap": "maximize", "gmacs": "minimize"}, id="two"),
]


def broad(trial: Any) -> DetectorSpec:
    """A hundred points."""
    topology = getattr(topologies, trial.suggest_categorical("topology", ["none", "fpn", "panet", "bifpn"]))
    return spec(topology(3, 7), width=trial.suggest_int("width", 8, 200, step=8))


def conditional(trial: Any) -> DetectorSpec:
    """The width has a range of its own for each topology, and nothing is in every point but the topology."""
    name = trial.suggest_categorical("topology", ["none", "fpn"])
    return spec(getattr(topologies, name)(3, 7), width=trial.suggest_int(f"width_{name}", 8, 200, step=8))


@pytest.mark.parametrize("objectives", OBJECTIVES)
@pytest.mark.parametrize("sampler", SEARCHES)
def test_a_stopped_search_goes_on_within_its_limit_and_leaves_nothing_running(
    tmp_path: Path, sampler: str, objectives: dict[str, str]
) -> None:
    desk = Desk(tmp_path, space=broad, sampler=sampler, objectives=objectives, trials=16, limits={"gmacs": 12.0})
    for state in ["complete"] * 5 + ["failed", "stopped"] + ["complete"] * 5:
        proposal = desk.proposals.next()
        assert proposal is not None
        desk.run(proposal, state=state)
    left = [desk.proposals.next() for _ in range(2)]
    desk.ledger.close()

    desk.restart()
    assert not [trial for trial in desk.told() if trial.state is TrialState.RUNNING]
    found = desk.run_all()
    assert [p.trial for p in found[:2]] == [p.trial for p in left if p]
    rows = desk.ledger.trials()
    assert len(rows) == len({row.architecture for row in rows}) == 16
    assert all(count(p.spec).gmacs <= 12.0 for p in found)
    told = [trial for trial in desk.told() if "trial" in trial.user_attrs]
    states = {TrialState.COMPLETE: 14, TrialState.FAIL: 1, TrialState.PRUNED: 1}
    assert {state: sum(trial.state is state for trial in told) for state in states} == states
    assert all(len(trial.values) == len(objectives) for trial in told if trial.state is TrialState.COMPLETE)
    assert not [trial for trial in desk.told() if not trial.state.is_finished()]


@pytest.mark.parametrize("sampler", SEARCHES)
def test_a_search_is_the_same_again_for_its_seed(tmp_path: Path, sampler: str) -> None:
    def search(name: str, seed: int) -> list[dict[str, Any]]:
        (tmp_path / name).mkdir()
        desk = Desk(tmp_path / name, space=broad, sampler=sampler, trials=12, seeds=(seed,), limits={"gmacs": 12.0})
        return [proposal.params for proposal in desk.run_all()]

    first = search("a", 3)
    assert search("b", 3) == first
    assert search("c", 4) != first


@pytest.mark.parametrize("sampler", SEARCHES)
def test_a_conditional_space_is_searched(tmp_path: Path, sampler: str, capfd: pytest.CaptureFixture[str]) -> None:
    desk = Desk(tmp_path, space=conditional, sampler=sampler, trials=14)
    found = desk.run_all()
    assert len({p.spec.digest for p in found}) == 14
    assert {p.params["topology"] for p in found} == {"none", "fpn"}
    assert all(set(p.params) == {"topology", f"width_{p.params['topology']}"} for p in found)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_gaussian_process_finds_more_than_chance(tmp_path: Path) -> None:
    best = {}
    for sampler in ("random", "gp"):
        (tmp_path / sampler).mkdir()
        desk = Desk(tmp_path / sampler, space=broad, sampler=sampler, objectives={"ap": "maximize"}, trials=16)
        best[sampler] = max(proposal.spec.width for proposal in desk.run_all()[10:])
    assert best["gp"] == 200 > best["random"]


def test_a_gaussian_process_does_not_repeat_what_a_limit_refused(tmp_path: Path) -> None:
    """Wider is better, and refused: a model that hears nothing of that would ask for the widest for ever."""
    desk = Desk(
        tmp_path, space=broad, sampler="gp", objectives={"ap": "maximize"}, trials=16, limits={"params_m": 0.08}
    )
    assert len(desk.run_all()) == 16
    assert desk.said == []


@pytest.mark.parametrize(("sampler", "key"), [("nsga2", "NSGAIISampler"), ("nsga3", "NSGAIIISampler")])
def test_a_genetic_search_has_parents_after_a_restart(tmp_path: Path, sampler: str, key: str) -> None:
    desk = Desk(tmp_path, space=wide, sampler=sampler, trials=60, seeds=tuple(range(60)))
    for _ in range(30):
        proposal = desk.proposals.next()
        assert proposal is not None
        desk.run(proposal)
    desk.restart()
    assert desk.proposals.next() is not None
    newest = max(desk.told(), key=lambda trial: trial.number)
    assert newest.system_attrs[f"{key}:generation"] == 30 // 12


# --- a sampler of one's own: a class in a file, and a line of the table -----------------------------------------------


class Narrowest(Strategy):
    """Train the narrowest width that the search has not had, up to 32."""

    def choose(self, rows: Iterable[TrialRow]) -> Params | str:
        had = {row.params["width"] for row in rows}
        left = [width for width in (8, 16, 24, 32) if width not in had]
        return {"topology": "fpn", "width": left[0]} if left else END


def test_a_new_sampler_is_one_class_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="sampler is 'narrowest'; allowed are grid"):
        Desk(tmp_path, space=broad, sampler="narrowest", trials=9)
    monkeypatch.setitem(SAMPLERS, "narrowest", Sampler(name="narrowest", home=f"{__name__}:Narrowest"))
    desk = Desk(tmp_path, space=broad, sampler="narrowest", trials=9)
    widths = [proposal.spec.width for proposal in desk.run_all()]
    assert widths == [8, 16, 24, 32]
    assert [trial.params["width"] for trial in desk.told() if trial.state is TrialState.COMPLETE] == widths
