"""Early stopping in whole runs: the same in both executors, known again after a kill, and never taken for a result."""

from __future__ import annotations

import io
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from scaling_lab import DetectorSpec, topologies
from scaling_lab.report import compute_frontier
from scaling_lab.runs.reader import Runs
from scaling_lab.study import Halving
from scaling_lab.study.run import runner
from scaling_lab.study.run.processes import make_mark, marked
from scaling_lab.study.run.runner import run_study
from tests.faults.afterwards import look_at, look_at_all
from tests.study.desk import Desk
from tests.study.engine import Replayed, count, log, make_study, rows, some_cores, spec, start_driver, wait_for

BY_AP = {"objectives": {"ap": "maximize"}, "stopping": Halving(min_epochs=1, factor=3)}
# After an epoch the six have 17.5, 33.5, 17.5, 33.5, 17.8 and 33.8 AP: the third and the fifth are behind.
BY_AP_STATES = ["complete", "complete", "stopped", "complete", "stopped", "complete"]


def run(out: Path, *, executor: str = "local", cpus: int | None = None, linger: float = 0.0, **changes: Any) -> str:
    stream = io.StringIO()
    run_study(
        make_study(**changes),
        out=out,
        executor=executor,
        cpus=cpus,
        count=count,
        objective=Replayed(linger=linger),
        stream=stream,
    )
    return stream.getvalue()


def states(out: Path) -> list[str]:
    return [row["state"] for row in rows(out)]


@pytest.mark.slow
def test_both_executors_stop_the_same_and_go_on_with_the_same_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Ray they take longer to end than the two seconds after which Tune gives the next trial up."""
    mark = make_mark()
    monkeypatch.setattr(runner, "make_mark", lambda: mark)
    for executor in ("local", "ray"):
        out = tmp_path / executor
        options: dict[str, Any] = {"cpus": 1, "linger": 2.5} if executor == "ray" else {}
        said = run(out, executor=executor, **options, **BY_AP)
        assert states(out) == BY_AP_STATES
        assert [row["epochs_done"] for row in rows(out)] == [3, 3, 1, 3, 1, 3]
        assert said.splitlines()[-1] == "all 6 trials are done, 2 of them stopped early (4 of 18 epochs saved)"
        assert "trial   3 stopped   epoch   1/3" in said
        assert [line.split(maxsplit=1)[1] for line in log(out / "trials" / "3")] == ["start at 0", "epoch 1"]
    assert rows(tmp_path / "ray") == rows(tmp_path / "local")
    assert Runs(tmp_path / "ray").epochs().equals(Runs(tmp_path / "local").epochs())
    table = Runs(tmp_path / "ray").table()
    assert table["device"].nunique() == 1
    assert table["device"].notna().all()
    assert (
        len({line.split()[0] for trial in range(1, 7) for line in log(tmp_path / "ray" / "trials" / str(trial))}) == 1
    )
    assert not marked(mark)


@pytest.mark.slow
def test_trials_at_once_are_stopped_at_rungs_alone(tmp_path: Path) -> None:
    """Later seeds give less here."""
    said = run(
        tmp_path,
        executor="ray",
        cpus=some_cores("ray"),
        seeds=(2, 1, 0),
        objectives={"ap": "maximize"},
        stopping=Halving(min_epochs=1, factor=2),
    )
    assert {row["state"] for row in rows(tmp_path)} == {"complete", "stopped"}
    for trial, row in enumerate(rows(tmp_path), start=1):
        assert row["epochs_done"] == 3 if row["state"] == "complete" else row["epochs_done"] in (1, 2)
        epochs = [line.split(maxsplit=1)[1] for line in log(tmp_path / "trials" / str(trial))]
        assert epochs == ["start at 0", *(f"epoch {epoch}" for epoch in range(1, row["epochs_done"] + 1))]
    saved = 3 * 18 - len(Runs(tmp_path).epochs())
    assert said.splitlines()[-1].endswith(f"stopped early ({saved} of 54 epochs saved)")


def test_what_is_not_dominated_is_stopped_nowhere(tmp_path: Path) -> None:
    """A wider detector costs more and has more AP, so that none of the six dominates another.

    If more is worse, the first dominates all but the third, which is as good; the second passes unjudged.
    """
    run(tmp_path, stopping=Halving(min_epochs=1, factor=3))
    assert states(tmp_path) == ["complete"] * 6
    run(tmp_path / "flat", objectives={"ap": "minimize", "gmacs": "minimize"}, stopping=Halving(min_epochs=1))
    assert states(tmp_path / "flat") == ["complete"] * 3 + ["stopped"] * 3


@pytest.mark.slow
def test_a_killed_run_judges_with_all_that_it_knew(tmp_path: Path) -> None:
    """Forgetting, the fifth trial would be the second to be seen, and pass."""
    stopping = {"min_epochs": 1, "factor": 3}
    study = {"objectives": {"ap": "maximize"}, "stopping": stopping}
    driver = start_driver(tmp_path, executor="local", objective={"hold": 4}, study=study)
    wait_for(lambda: (tmp_path / "trials" / "4" / "checkpoint.pt").exists())
    driver.kill()
    driver.communicate(timeout=300)
    assert states(tmp_path) == ["complete", "complete", "stopped", "running", "planned", "planned"]
    look_at(tmp_path)
    run(tmp_path, **BY_AP)
    assert states(tmp_path) == BY_AP_STATES
    assert len(log(tmp_path / "trials" / "3")) == 2
    before = rows(tmp_path)
    assert run(tmp_path, **BY_AP).splitlines()[-1].startswith("all 6 trials are done, 2 of them stopped early")
    assert rows(tmp_path) == before
    look_at_all(tmp_path)


def test_a_kill_between_verdict_and_end_changes_no_verdict(tmp_path: Path) -> None:
    """Killed so, the third trial has its rung as its last epoch and is judged again; the first was past its rung."""
    run(tmp_path, **BY_AP)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("UPDATE trials SET state = 'running', epochs_done = 2 WHERE id = 1")
        connection.execute("DELETE FROM epochs WHERE trial = 1 AND epoch = 3")
        connection.execute("UPDATE trials SET state = 'running' WHERE id = 3")
    connection.close()
    (tmp_path / "trials" / "1" / "checkpoint.pt").write_text("2")
    (tmp_path / "trials" / "3" / "checkpoint.pt").write_text("1")
    run(tmp_path, **BY_AP)
    assert states(tmp_path) == BY_AP_STATES
    words = ["start at 0", "epoch 1", "epoch 2", "epoch 3", "start at 2", "epoch 3"]
    assert [line.split(maxsplit=1)[1] for line in log(tmp_path / "trials" / "1")] == words
    assert len(log(tmp_path / "trials" / "3")) == 2


def test_a_stopped_trial_is_pruned_to_optuna_and_on_no_front(tmp_path: Path) -> None:
    run(tmp_path / "run", **BY_AP)
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / "run" / "optuna.journal"))
    )
    told = {trial.user_attrs["trial"]: trial for trial in optuna.load_study(study_name="run", storage=storage).trials}
    assert [told[trial].state for trial in range(1, 7)] == [
        TrialState.PRUNED if state == "stopped" else TrialState.COMPLETE for state in BY_AP_STATES
    ]
    assert told[3].values is None
    frontier = compute_frontier(Runs(tmp_path / "run"))
    assert frontier.trials["trial"].tolist() == [1, 2, 4, 6]
    assert frontier.excluded.empty
    assert len(frontier.architectures) == 4


@pytest.mark.parametrize(
    "sampler",
    ["random", "ehvi", "tpe", *(pytest.param(name, marks=pytest.mark.slow) for name in ("nsga2", "nsga3", "gp"))],
)
def test_every_sampler_goes_on_beside_stopped_trials(tmp_path: Path, sampler: str) -> None:
    def broad(trial: Any) -> DetectorSpec:
        topology = getattr(topologies, trial.suggest_categorical("topology", ["none", "fpn", "panet"]))
        return spec(topology(3, 7), width=trial.suggest_int("width", 8, 200, step=8))

    changes = {"space": broad, "sampler": sampler, "stopping": Halving(min_epochs=1, factor=2)}
    run(tmp_path, trials=14, **changes)
    run(tmp_path, trials=18, **changes)
    found = states(tmp_path)
    assert len(found) == 18
    assert {"complete", "stopped"} == set(found)


def test_a_stopped_architecture_is_known_without_a_value(tmp_path: Path) -> None:
    def tiny(trial: Any) -> DetectorSpec:
        return spec(topologies.fpn(3, 7), width=trial.suggest_int("width", 8, 16, step=8))

    desk = Desk(tmp_path, space=tiny, sampler="random", trials=5, stopping=Halving(min_epochs=1))
    for state in ("stopped", "complete"):
        proposal = desk.proposals.next()
        assert proposal is not None
        desk.run(proposal, state=state)
        if state == "stopped":
            width = proposal.spec.width
    assert desk.proposals.next() is None
    known = [trial for trial in desk.told() if "known_trials" in trial.user_attrs]
    assert {(trial.params["width"] == width, trial.state) for trial in known} == {
        (True, TrialState.PRUNED),
        (False, TrialState.COMPLETE),
    }
