"""What trackers get, read back through their own clients: settings once, each epoch once, over stops and failures."""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scaling_lab import Recipe, Shapes, Study
from scaling_lab.cli import main
from scaling_lab.cli.training_log import TrainingLog
from scaling_lab.errors import UserError
from scaling_lab.study.run.runner import run_study
from scaling_lab.study.space.study_file import StudyFile
from scaling_lab.training import trackers
from scaling_lab.training.trackers import TRACKERS, Trackers, check_trackers
from search_spaces.compound import SMALL

SPEC = dataclasses.replace(SMALL.base, repeats=1, num_classes=8, image_size=(64, 64))
DATA = Shapes(train_images=8, val_images=4)


class Listed:
    """A tracker that keeps what it gets in `calls`; it fails where `fails_at` says."""

    calls: list[tuple[Any, ...]]
    fails_at: str

    def __init__(self, experiment: str, name: str, folder: Path, *, known: str | None) -> None:
        self.id = known or "1"
        self._call("start", experiment, name, known)

    @classmethod
    def prepare(cls, experiment: str) -> None:
        cls._call("prepare", experiment)

    def log_params(self, params: Mapping[str, Any]) -> None:
        self._call("params", dict(params))

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        self._call("log", epoch, dict(values))

    def end(self, state: str, tags: Mapping[str, str]) -> None:
        self._call("end", state, dict(tags))

    @classmethod
    def _call(cls, what: str, *values: Any) -> None:
        cls.calls.append((what, *values))
        if what == cls.fails_at:
            raise ConnectionError("no answer\nfrom the server")


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> type[Listed]:
    """The only tracker, whose client is the module json."""
    monkeypatch.setattr(Listed, "calls", [], raising=False)
    monkeypatch.setattr(Listed, "fails_at", "", raising=False)
    monkeypatch.setattr(trackers, "TRACKERS", {"json": (Listed, "listed")})
    return Listed


def _tracked(folder: Path, said: list[str]) -> Trackers:
    return Trackers(["json"], experiment="e", run="e/1", folder=folder, params=lambda: {"lr": 0.1}, say=said.append)


def test_each_epoch_is_logged_once_and_a_continued_run_keeps_its_id(tmp_path: Path, listed: type[Listed]) -> None:
    def stopped() -> None:
        with _tracked(tmp_path, []) as tracked:
            tracked.epoch({"epoch": 1, "loss": 2.0, "ap": None})
            (tmp_path / "checkpoint.pt").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    (tmp_path / "best.pt").touch()
    with _tracked(tmp_path, []) as tracked:
        tracked.epoch({"epoch": 1, "loss": 2.0, "ap": None})
        tracked.epoch({"epoch": 2, "loss": 1.0, "ap": 5.0})
    assert listed.calls == [
        ("start", "e", "e/1", None),
        ("params", {"lr": 0.1}),
        ("log", 1, {"train/loss": 2.0}),
        ("end", "stopped", {}),
        ("start", "e", "e/1", "1"),
        ("log", 2, {"train/loss": 1.0, "val/ap": 5.0}),
        ("end", "complete", {"best_weights": str(tmp_path / "best.pt")}),
    ]
    (tmp_path / "checkpoint.pt").unlink()  # the training run starts over
    with _tracked(tmp_path, []) as tracked:
        tracked.epoch({"epoch": 1, "loss": 2.0})
    assert [call[:2] for call in listed.calls[-4:-1]] == [("start", "e"), ("params", {"lr": 0.1}), ("log", 1)]


def test_a_damaged_file_starts_a_new_run(tmp_path: Path, listed: type[Listed]) -> None:
    (tmp_path / "checkpoint.pt").touch()
    for text in ("{", "[]", '{"json": {"run": "7"}}'):
        (tmp_path / trackers.FILE).write_text(text)
        with _tracked(tmp_path, []):
            pass
        assert listed.calls[-3] == ("start", "e", "e/1", None)


@pytest.mark.parametrize("at", ["start", "params", "log", "end"])
def test_a_tracker_that_fails_is_told_once_and_left_alone(tmp_path: Path, listed: type[Listed], at: str) -> None:
    listed.fails_at = at
    said: list[str] = []
    with _tracked(tmp_path, said) as tracked:
        for epoch in (1, 2):
            tracked.epoch({"epoch": epoch, "loss": 2.0})
    assert said == ["json fails (no answer); training goes on without it"]
    assert [call[0] for call in listed.calls].count(at) == 1


def test_what_cannot_be_logged_to_is_named_before(monkeypatch: pytest.MonkeyPatch, listed: type[Listed]) -> None:
    with pytest.raises(UserError, match=r"^--log is 'tensorbord'; allowed are json$"):
        check_trackers(["tensorbord"], "e")
    listed.fails_at = "prepare"
    with pytest.raises(UserError, match=r"^--log json: no answer$"):
        check_trackers(["json"], "e")
    monkeypatch.setitem(trackers.TRACKERS, "no_such_client", (Listed, "no-such-client"))
    missing = (
        r"^--log no_such_client needs its client \(No module named 'no_such_client'\): pip install no-such-client$"
    )
    with pytest.raises(UserError, match=missing):
        check_trackers(["no_such_client"], "e")


# --- the clients -----------------------------------------------------------------------------------------------------


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow's own client, on a file store."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path / 'store'}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow maintains it, but advises against it
    module = pytest.importorskip("mlflow", reason="pip install mlflow-skinny")
    return module.MlflowClient()


def _runs(client: Any, experiment: str) -> list[Any]:
    return list(client.search_runs([client.get_experiment_by_name(experiment).experiment_id]))


def _history(client: Any, run: Any, tag: str) -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, tag)]


def _train(folder: Path, *options: str) -> int:
    (folder / "small.json").write_text(SPEC.to_json())
    recipe = ["--set", "epochs=3", "--set", "batch_size=4", "--device", "cpu", "--workers", "0"]
    data = ["--data", "shapes,train_images=8,val_images=4", "--out", str(folder / "run")]
    return main(["train", str(folder / "small.json"), *data, *recipe, *options])


def _stop_once(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    keep, left = TrainingLog.epoch, [epoch]

    def stop(log: TrainingLog, metrics: Mapping[str, Any]) -> None:
        keep(log, metrics)
        if left == [metrics["epoch"]]:
            left.clear()
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingLog, "epoch", stop)


def test_mlflow_gets_settings_epochs_and_where_the_weights_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow: Any
) -> None:
    _stop_once(monkeypatch, 2)
    assert _train(tmp_path, "--log", "mlflow") == 130
    (run,) = _runs(mlflow, "scaling-lab")
    assert (run.info.run_name, run.info.status) == ("run", "KILLED")
    assert _train(tmp_path, "--log", "mlflow") == 0
    (run,) = _runs(mlflow, "scaling-lab")
    assert run.info.status == "FINISHED"
    wanted = {"architecture": SPEC.describe(), "recipe.epochs": "3", "recipe.batch_size": "4", "seed": "0"}
    assert wanted.items() <= run.data.params.items()
    assert run.data.params["data"] == DATA.describe()
    epochs = [json.loads(line) for line in (tmp_path / "run" / "epochs.jsonl").read_text().splitlines()]
    assert _history(mlflow, run, "train/loss") == [(each["epoch"], each["loss"]) for each in epochs]
    assert _history(mlflow, run, "val/ap") == [(each["epoch"], each["ap"]) for each in epochs]
    paths = {name: str(tmp_path / "run" / f"{file}.pt") for name, file in (("weights",) * 2, ("best_weights", "best"))}
    assert paths.items() <= run.data.tags.items()


def test_mlflow_takes_any_name_of_a_class_and_any_number_of_them(tmp_path: Path, mlflow: Any) -> None:
    names = {"a/b": 1.0, "..": 2.0, "Käse (x)": 3.0, **{f"class {place}": 4.0 for place in range(1100)}}
    TRACKERS["mlflow"][0].prepare("e")
    run = TRACKERS["mlflow"][0]("e", "e/1", tmp_path, known=None)
    run.log(1, {f"ap_by_class/{name}": ap for name, ap in names.items()})
    found = mlflow.get_run(run.id).data.metrics
    assert len(found) == len(names)
    assert found["ap_by_class/Käse _x_"] == 3.0


def _space(choose: Any) -> Any:
    return SPEC


@pytest.mark.parametrize("executor", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_each_trial_of_a_study_is_a_run(tmp_path: Path, mlflow: Any, executor: str) -> None:
    recipe = Recipe.short(epochs=2, batch_size=4)
    study = Study(question="?", space=_space, sampler="grid", trials=2, seeds=(0, 1), data=DATA, recipe=recipe)
    file = StudyFile(study=study, name="tiny", path=Path(), source="")
    folder = run_study(file, out=tmp_path / "runs", executor=executor, log=["mlflow"], stream=None)
    runs = {run.info.run_name: run for run in _runs(mlflow, "tiny")}
    assert sorted(runs) == ["tiny/1", "tiny/2"]
    assert {run.data.params["seed"] for run in runs.values()} == {"0", "1"}
    for name, run in runs.items():
        lines = (folder / "trials" / name.partition("/")[2] / "epochs.jsonl").read_text().splitlines()
        assert _history(mlflow, run, "train/loss") == [(e["epoch"], e["loss"]) for e in map(json.loads, lines)]


def test_weights_and_biases_keeps_a_run_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    pytest.importorskip("wandb", reason="pip install wandb")
    _stop_once(monkeypatch, 2)
    assert _train(tmp_path, "--log", "wandb") == 130
    assert _train(tmp_path, "--log", "wandb") == 0
    first, second = sorted((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
    assert first.name == second.name  # one run in two parts
    kept = [_wandb_records(path) for path in (first, second)]
    # Epoch 2 ended, but the stop came before it was logged.
    assert [[step for step, _ in part.history] for part in kept] == [[1], [2, 3]]
    assert kept[0].config["recipe.epochs"] == 3
    assert kept[1].summary["weights"] == str(tmp_path / "run" / "weights.pt")


def _wandb_records(path: Path) -> SimpleNamespace:
    """Return the config, summary and history of an offline run's file."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = SimpleNamespace(history=[], config={}, summary={})
    for content in _leveldb_records(path.read_bytes()):
        record = Record.FromString(content)
        for kept, items in (
            (found.config, [*record.run.config.update, *record.config.update]),
            (found.summary, record.summary.update),
        ):
            kept.update({item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items})
        if record.WhichOneof("record_type") == "history":
            values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            found.history.append((record.history.step.num, values))
    return found


def _leveldb_records(content: bytes, block: int = 2**15) -> Iterator[bytes]:
    """Yield the records of a log in LevelDB's format, after W&B's header of 7 bytes: checksum, length, kind, then the part."""
    place, record = 7, b""
    while place + 7 <= len(content):
        if block - place % block < 7:  # too little for another header
            place += block - place % block
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""
