"""What is proposed: within the limits, nothing twice, and what Optuna hears of it, now and after a restart."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from scaling_lab import DetectorSpec, topologies
from scaling_lab.cost.counts import total
from scaling_lab.errors import UserError
from scaling_lab.study.ledger.database import Ledger
from scaling_lab.study.search import proposals as module
from scaling_lab.study.search.proposals import Proposals
from tests.study.desk import Desk, wide
from tests.study.engine import count, make_study, spec


def test_a_grid_is_planned_whole_seeds_outermost(tmp_path: Path) -> None:
    desk = Desk(tmp_path, seeds=(5, 6))
    assert desk.proposals.planned == len(desk.ledger.trials()) == 12
    found = desk.run_all()
    assert [p.seed for p in found] == [5] * 6 + [6] * 6
    assert [p.params for p in found[:6]] == [p.params for p in found[6:]]
    assert [p.trial for p in found] == list(range(1, 13))
    assert all(p.spec.num_classes == len(desk.study.data.class_names) for p in found)


def test_a_grid_has_each_architecture_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path, space=wide)
    digests = [p.spec.digest for p in desk.run_all()]
    assert len(digests) == len(set(digests)) == 6


@pytest.mark.parametrize("search", [{"sampler": "grid"}, {"sampler": "random", "trials": 3}])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbone": "resnt18"}, "backbone 'resnt18' is unknown to timm"),
        (
            {"topology": topologies.fpn(1, 3), "backbone": "convnext_atto"},
            "backbone 'convnext_atto' has no level P1; it",
        ),
        (
            {"backbone": "fasternet_t0", "image_size": (8, 8)},
            "the backbone fasternet_t0 cannot be counted at 8x8: Calculated padded input size per channel",
        ),
    ],
)
def test_a_detector_that_cannot_be_built_is_named_with_study_file_and_point(
    tmp_path: Path, changes: dict[str, Any], words: str, search: dict[str, Any]
) -> None:
    def broken(trial: Any) -> DetectorSpec:
        width = trial.suggest_int("width", 8, 8)
        return dataclasses.replace(spec(topologies.fpn(3, 7), width=width), **changes)

    study = make_study(space=broken, **search)
    with pytest.raises(UserError) as error:
        Proposals(study, Ledger(tmp_path / "ledger.sqlite"), name="mine", protocol="p").next()
    message = str(error.value)
    assert message.startswith("study mine: ")
    assert f"test_proposals.py: {words}" in message
    assert message.endswith("(in the search space, at width=8)")
    assert "\n" not in message


def test_a_mistake_of_ours_in_counting_stays_one(tmp_path: Path) -> None:
    def wrong(spec: DetectorSpec) -> Any:
        return total([None])  # type: ignore[list-item]

    with pytest.raises(AttributeError):
        Proposals(make_study(), Ledger(tmp_path / "ledger.sqlite"), name="s", protocol="p", count=wrong)


def test_a_grid_may_be_cut(tmp_path: Path) -> None:
    assert Desk(tmp_path, trials=4).proposals.planned == 4


def test_limits_reject_before_anything_runs_and_teach_optuna(tmp_path: Path) -> None:
    desk = Desk(tmp_path, space=wide, sampler="random", trials=3, limits={"gmacs": 0.9}, seeds=tuple(range(9)))
    found = desk.run_all()
    assert len(found) == 3
    assert all(count(p.spec).gmacs <= 0.9 for p in found)
    rejections = desk.ledger.rejections()
    assert rejections
    assert all(costs["gmacs"] > 0.9 for _, costs in rejections)
    pruned = [trial for trial in desk.told() if trial.state is TrialState.PRUNED]
    assert pruned
    assert all(trial.constraints["gmacs"] > 0 for trial in pruned)
    assert all(trial.user_attrs["rejected"].endswith(" is above the limit 0.9") for trial in pruned)
    complete = [trial for trial in desk.told() if trial.state is TrialState.COMPLETE]
    assert all(trial.constraints["gmacs"] <= 0 for trial in complete)


def test_a_known_architecture_becomes_a_further_seed_then_a_free_look_up(tmp_path: Path) -> None:
    def tiny(trial: Any) -> DetectorSpec:
        return spec(topologies.fpn(3, 7), width=trial.suggest_int("width", 8, 16, step=8))

    desk = Desk(tmp_path, space=tiny, sampler="random", trials=50, seeds=(0, 1, 2))
    found = desk.run_all()
    assert Counter((p.spec.width, p.seed) for p in found) == {
        (width, seed): 1 for width in (8, 16) for seed in (0, 1, 2)
    }
    assert desk.proposals.planned == 6
    assert desk.said == [
        "200 points in a row were known already or beyond the limits: the search ends with 6 trials of 50"
    ]
    values = {trial.params["width"]: trial.values[0] for trial in desk.told() if "known_trials" in trial.user_attrs}
    assert values == {8: 8.0, 16: 16.0}


def test_the_search_ends_where_limits_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FUTILE", 20)
    desk = Desk(tmp_path, sampler="tpe", trials=5, limits={"params_m": 0.001})
    assert desk.proposals.next() is None
    assert desk.proposals.next() is None
    assert len(desk.said) == 1


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize(
    "sampler", ["random", "tpe", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ehvi", "nsga2", "nsga3"))]
)
def test_a_search_continues_after_a_restart_with_all_that_it_knew(tmp_path: Path, sampler: str) -> None:
    desk = Desk(tmp_path, space=wide, sampler=sampler, trials=20, seeds=tuple(range(20)), limits={"gmacs": 1.5})
    for _ in range(9):
        proposal = desk.proposals.next()
        assert proposal is not None
        desk.run(proposal, state="failed" if proposal.trial == 3 else "complete")
    running = [desk.proposals.next() for _ in range(2)]
    before = _summary(desk.told())
    desk.ledger.close()

    desk.restart()
    assert _summary(desk.told()) <= before
    assert not [trial for trial in desk.told() if trial.state is TrialState.RUNNING]
    again = [desk.proposals.next() for _ in range(2)]
    assert [p.trial for p in again if p] == [p.trial for p in running if p]
    assert len([trial for trial in desk.told() if trial.state is TrialState.RUNNING]) == 2
    for proposal in again:
        assert proposal is not None
        desk.run(proposal)
    desk.run_all()
    rows = desk.ledger.trials()
    assert len(rows) == 20
    assert len({(row.architecture, row.seed) for row in rows}) == 20


def _summary(trials: list[optuna.trial.FrozenTrial]) -> Counter[Any]:
    ended = [trial for trial in trials if trial.state.is_finished() and "known_trials" not in trial.user_attrs]
    return Counter(
        (trial.state, tuple(sorted(trial.params.items())), tuple(trial.values or ()), tuple(trial.constraints.items()))
        for trial in ended
    )


def test_no_search_repeats_itself_after_a_restart(tmp_path: Path) -> None:
    desk = Desk(tmp_path, space=wide, sampler="random", trials=12, seeds=tuple(range(99)))
    first = []
    for _ in range(6):
        proposal = desk.proposals.next()
        assert proposal is not None
        desk.run(proposal)
        first.append(proposal.params)
    desk.restart()
    assert [p.params for p in desk.run_all()] != first


def test_a_grid_may_grow_and_shrink_between_sessions(tmp_path: Path) -> None:
    desk = Desk(tmp_path, trials=None)
    first = desk.proposals.next()
    assert first is not None
    desk.run(first)

    def wider(trial: Any) -> DetectorSpec:
        return spec(topologies.none(3, 7), width=trial.suggest_int("width", 16, 48, step=16))

    desk.restart(make_study(space=wider))
    assert desk.said == ["1 earlier trials are no longer in the search space; they stay in the ledger"]
    rows = desk.ledger.trials()
    assert [(row.params, row.state) for row in rows] == [
        ({"topology": "none", "width": 16}, "complete"),
        ({"topology": "none", "width": 32}, "planned"),
        ({"width": 48}, "planned"),
    ]
    assert [p.spec.width for p in desk.run_all()] == [32, 48]


def test_a_raised_limit_lets_in_what_it_kept_out(tmp_path: Path) -> None:
    desk = Desk(tmp_path, limits={"gmacs": 1.0})
    kept_out = len(desk.ledger.rejections())
    assert desk.proposals.planned == 6 - kept_out
    desk.restart(make_study(limits={"gmacs": 100.0}))
    assert desk.proposals.planned == 6
    assert desk.ledger.rejections() == []


def test_a_point_that_the_space_refuses_is_asked_again(tmp_path: Path) -> None:
    def refusing(trial: Any) -> DetectorSpec:
        width = trial.suggest_int("width", 8, 16, step=8)
        if width == 8:
            raise optuna.TrialPruned
        return spec(topologies.fpn(3, 7), width=width)

    desk = Desk(tmp_path, space=refusing, sampler="random", trials=5, seeds=tuple(range(5)))
    assert {p.spec.width for p in desk.run_all()} == {16}


def _same(written: list[optuna.trial.FrozenTrial], told: list[optuna.trial.FrozenTrial]) -> None:
    assert len(written) == len(told) > 0
    for one, other in zip(written, told, strict=True):
        for name in ("number", "state", "values", "params", "distributions", "user_attrs"):
            assert getattr(one, name) == getattr(other, name), name
        # Named in memory, a list in the file: where optuna-dashboard looks.
        assert one.system_attrs["constraints"] == list(other.constraints.values())


def test_the_journal_holds_what_optuna_knows(tmp_path: Path) -> None:
    desk = Desk(tmp_path, limits={"gmacs": 2.5})
    for proposal, state in zip(
        [desk.proposals.next() for _ in range(3)], ["complete", "failed", "stopped"], strict=True
    ):
        assert proposal is not None
        desk.run(proposal, state=state)
    assert desk.proposals.next() is not None
    study = _journal(tmp_path / "journal")
    assert study.metric_names == ["ap", "gmacs"]
    ended = [TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED]
    assert [trial.state for trial in study.trials] == [*ended, TrialState.RUNNING]
    _same(study.trials, desk.told())
    assert study.trials[0].values == [16.0, pytest.approx(0.96)]
    assert study.user_attrs == {"question": "Does the engine work?", "limits": {"gmacs": 2.5}}
    assert study.trials[0].user_attrs["trial"] == 1
    assert study.trials[0].constraints == {"0": pytest.approx(0.96 - 2.5)}
    assert study.trials[0].system_attrs["constraints"] == [pytest.approx(0.96 - 2.5)]

    desk.restart()
    assert desk.proposals.next() is not None
    again = _journal(tmp_path / "journal").trials
    _same(again, desk.told())
    states = [TrialState.PRUNED, TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED, TrialState.RUNNING]
    assert [trial.state for trial in again] == states
    assert again[0].constraints == {"0": pytest.approx(2.88 - 2.5)}
    assert again[0].user_attrs["rejected"] == "gmacs 2.88 is above the limit 2.5"
    assert all("width" in trial.user_attrs["description"] for trial in again)


def _journal(path: Path) -> optuna.Study:
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    return optuna.load_study(study_name="s", storage=storage)
