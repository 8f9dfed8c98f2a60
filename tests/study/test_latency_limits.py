"""Latency as an objective and a limit: measured as a trial's first step, once, and refusing before anything is trained."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from scaling_lab import DetectorSpec, Finalists, Runs, topologies
from scaling_lab.latency.quick import measure_latency
from scaling_lab.study.run.runner import run_study, trial_latency
from scaling_lab.study.search import proposals
from tests.study.desk import wide
from tests.study.engine import Replayed, count, log, make_study, rows, some_cores, spec

LIMIT = {"limits": {"latency_ms": 30.0}}


@dataclass(frozen=True)
class Stopwatch:
    """Gives the width in ms, and writes down that it was asked."""

    folder: Path

    def __call__(self, specs: list[DetectorSpec]) -> Iterable[Mapping[str, Any]]:
        for each in specs:
            with (self.folder / "timed.txt").open("a") as file:
                file.write(f"{each.digest}\n")
            times = {"median_ms": float(each.width), "p90_ms": 99.0, "spread_ms": 1.0, "runs": 9}
            where = {"device": "d", "dtype": "float32", "batch": 1, "threads": 1, "backend": "eager"}
            how = {"scope": "network", "method": "quick", "processes": 1, "versions": {"torch": "1"}}
            yield {"architecture": each.digest, **where, **times, **how}


def run(out: Path, *, executor: str = "local", objective: Any = None, **changes: Any) -> str:
    stream = io.StringIO()
    run_study(
        make_study(**changes),
        out=out,
        executor=executor,
        cpus=some_cores(executor),
        count=count,
        latency=Stopwatch(out.parent),
        objective=objective or Replayed(),
        stream=stream,
    )
    return stream.getvalue()


def timed(out: Path) -> list[str]:
    return (out.parent / "timed.txt").read_text().splitlines()


@pytest.mark.parametrize("executor", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_what_is_too_slow_is_rejected_before_it_trains(tmp_path: Path, executor: str) -> None:
    """Three of the six are 32 wide. Seeds are outermost: those of a rejected architecture go with it."""
    out = tmp_path / "run"
    said = run(out, executor=executor, seeds=(0, 1), **LIMIT)
    runs = Runs(out)
    assert said.count("latency_ms 32 is above the limit 30") == 3
    assert said.splitlines()[-1] == "all 6 trials are done"
    assert [(row["state"], row["seed"]) for row in sorted(rows(out), key=lambda row: row["seed"])] == [
        ("complete", seed) for seed in (0, 0, 0, 1, 1, 1)
    ]
    assert set(runs.table()["latency_ms"]) == {16.0}
    assert runs.rejections()["reason"].tolist() == ["latency_ms 32 is above the limit 30"] * 3
    assert [costs["latency_ms"] for costs in runs.rejections()["costs"]] == [32.0] * 3
    assert len(timed(out)) == len(set(timed(out))) == len(runs.latencies()) == 6
    started = [folder for folder in (out / "trials").iterdir() if (folder / "log.txt").exists()]
    assert len(started) == 6
    # The same again measures nothing and trains nothing; a higher limit lets in what was rejected, without measuring.
    before = rows(out)
    assert run(out, seeds=(0, 1), **LIMIT).splitlines()[-1] == "all 6 trials are done"
    assert rows(out) == before
    run(out, seeds=(0, 1), limits={"latency_ms": 33.0})
    assert len(rows(out)) == 12
    assert len(timed(out)) == 6
    assert Runs(out).rejections().empty


def test_a_rejection_teaches_the_sampler_and_costs_no_trial(tmp_path: Path) -> None:
    out = tmp_path / "run"
    changes = {"space": wide, "sampler": "tpe", "trials": 6, "seeds": (0, 1), "limits": {"latency_ms": 20.0}}
    said = run(out, **changes)
    assert said.splitlines()[-1] == "all 6 trials are done"
    assert {each.width for each in Runs(out).specs().values()} >= {8, 16, 24}
    assert set(Runs(out).table()["latency_ms"]) == {8.0, 16.0}
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(out / "optuna.journal")))
    told = optuna.load_study(study_name="run", storage=storage).trials
    slow = [trial for trial in told if trial.params["width"] == 24]
    assert slow
    assert {(trial.state, trial.constraints["0"]) for trial in slow} == {(TrialState.PRUNED, 4.0)}
    complete = [trial for trial in told if trial.state is TrialState.COMPLETE]
    assert all(trial.constraints["0"] < 0 for trial in complete)


def test_a_search_in_which_all_is_too_slow_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "MOST_FUTILE", 5)

    def broad(trial: Any) -> DetectorSpec:
        return spec(topologies.fpn(3, 7), width=trial.suggest_int("width", 8, 4000, step=8))

    said = run(tmp_path / "run", space=broad, sampler="random", trials=50, limits={"latency_ms": 1.0})
    assert "5 points in a row were known already or beyond the limits: the search ends with 0 trials of 50" in said
    assert said.splitlines()[-1].startswith("no trial: the limits reject all of 5 points; the least latency_ms is ")
    assert len(timed(tmp_path / "run")) == 5


def test_latency_is_an_objective(tmp_path: Path) -> None:
    """A wider detector has more AP and takes longer: two widths on the front of AP and latency, none of the others."""
    out = tmp_path / "run"
    changes = {"objectives": {"ap": "maximize", "latency_ms": "minimize"}, "finalists": Finalists(count=2, seeds=(7,))}
    run(out, **changes)
    table = Runs(out).table()
    assert len(timed(out)) == 6
    assert table.loc[table["role"] == "finalist", "latency_ms"].tolist() == [16.0, 32.0]
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(out / "optuna.journal")))
    best = optuna.load_study(study_name="run", storage=storage).best_trials
    assert {trial.values[1] for trial in best} == {16.0, 32.0}


def test_epochs_that_were_trained_are_not_lost_to_a_later_limit(tmp_path: Path) -> None:
    def fail_late(spec: DetectorSpec, seed: int, folder: Path, report: Any) -> Any:
        def once(metrics: dict[str, Any]) -> None:
            report(metrics)
            if metrics["epoch"] == 2:
                raise MemoryError

        return Replayed()(spec, seed, folder, once)

    out = tmp_path / "run"
    run(out, objective=fail_late, trials=1)
    stream = io.StringIO()
    study = make_study(trials=1, limits={"latency_ms": 1.0})
    values: dict[str, Any] = {"count": count, "latency": Stopwatch(tmp_path), "objective": Replayed()}
    run_study(study, out=out, executor="local", retry_failed=True, stream=stream, **values)
    assert [(row["state"], row["epochs_done"]) for row in rows(out)] == [("complete", 3)]
    assert "start at 1" in log(out / "trials" / "1")[3]


def test_what_is_measured_is_the_trials_own_share_of_the_device() -> None:
    measure = trial_latency(make_study(cpus_per_trial=2))
    assert (measure.device, measure.threads) == ("cpu", 2)
    assert trial_latency(make_study(gpus_per_trial=0.5)).device == "cuda"
    (row,) = trial_latency(make_study())([spec(topologies.fpn(3, 7))])
    (same,) = measure_latency([spec(topologies.fpn(3, 7))], rounds=3)
    assert {row[name] for name in ("threads", "batch", "dtype")} == {
        same[name] for name in ("threads", "batch", "dtype")
    }
    assert row["median_ms"] > 0
