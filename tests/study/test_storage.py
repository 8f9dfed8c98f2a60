"""Runs whose copies are in a storage: a trial that goes on elsewhere, and a driver that has lost its disk.

The storages: a path, fsspec's memory, and S3 as moto's server serves it on loopback where moto and s3fs are installed.
"""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scaling_lab import topologies
from scaling_lab.cli import main
from scaling_lab.errors import UserError
from scaling_lab.runs.reader import RunFolder, Runs
from scaling_lab.storage import Storage, StorageError
from scaling_lab.study.run import run_copies, trial_copies
from scaling_lab.study.run.run_copies import RunCopies
from scaling_lab.study.run.runner import run_study
from scaling_lab.study.run.trial import Outcome, Report, Stopped, run_trial
from scaling_lab.study.run.trial_copies import MARK, TrialCopies
from tests.study.engine import Replayed, count, log, make_study, result, rows, spec

FPN = spec(topologies.fpn(3, 7))
PLACES = ["path", "memory", "s3"]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Give the address of a bucket on a server of our own."""
    for name in ("moto", "s3fs"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install 'moto[server]' s3fs")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    values = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("bucket")
        yield "s3://bucket"
    server.stop()


@pytest.fixture(params=PLACES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the address of an empty storage."""
    own = uuid.uuid4().hex
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}/{own}"
    return f"memory://{own}" if request.param == "memory" else str(tmp_path / "storage")


@pytest.fixture
def path_url(tmp_path: Path) -> str:
    return (tmp_path / "storage").as_uri()


# --- a storage --------------------------------------------------------------------------------------------------------


def test_a_storage_is_a_folder_of_files(url: str, tmp_path: Path) -> None:
    storage = Storage(url)
    assert storage.names() == []
    assert storage.read("a/b.txt") is None
    storage.write("a/b.txt", b"one")
    storage.write("a/b.txt", b"two")
    (tmp_path / "file").write_bytes(b"x" * 10_000)
    storage.at("a").put(tmp_path / "file", "c/d é #1.bin")
    assert storage.names() == ["a/b.txt", "a/c/d é #1.bin"]
    assert storage.at("a").read("b.txt") == b"two"
    storage.get("a/c/d é #1.bin", tmp_path / "new" / "file")
    assert (tmp_path / "new" / "file").read_bytes() == b"x" * 10_000
    storage.rename("a/c", "e/f")
    assert storage.names() == ["a/b.txt", "e/f/d é #1.bin"]
    with pytest.raises(StorageError, match=r"/none cannot be read: "):
        storage.get("none", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_what_is_no_storage_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        StorageError, match=r"the storage nowhere://x cannot be used: .*nowhere.*; allowed are s3://BUCKET"
    ):
        Storage("nowhere://x").names()
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/a cannot be written: "):
        Storage(str(tmp_path / "file")).write("a", b"")


@pytest.mark.skipif(importlib.util.find_spec("gcsfs") is not None, reason="gcsfs is installed")
def test_a_missing_package_is_named() -> None:
    with pytest.raises(StorageError, match="the storage gs://bucket/runs needs another package: pip install gcsfs"):
        Storage("gs://bucket/runs").names()


# --- a trial ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Trained:
    """An objective that writes its checkpoint before each report, as training does, and may fail in an epoch."""

    fail: int | None = None

    def __call__(self, spec: Any, seed: int, folder: Path, report: Report) -> Mapping[str, Any]:
        checkpoint = folder / "checkpoint.pt"
        done = int(checkpoint.read_text()) if checkpoint.exists() else 0
        for epoch in range(done + 1, 4):
            if epoch == self.fail:
                raise ZeroDivisionError("as asked for")
            checkpoint.write_text(str(epoch))
            (folder / "events").mkdir(exist_ok=True)
            (folder / "events" / f"{epoch}").write_text(f"epoch {epoch}, from {done}")
            report(result(spec, seed, epoch))
        return result(spec, seed, 3)


def attempt(node: Path, storage: Storage, *, stop: int | None = None, **options: Any) -> tuple[Outcome, list[int]]:
    """Run trial 7 on a node, stopped at the report of an epoch. Give its outcome and the epochs that it reported."""
    told: list[int] = []

    def report(metrics: dict[str, Any]) -> None:
        told.append(metrics["epoch"])
        if metrics["epoch"] == stop:
            raise Stopped

    folder = node / "trials" / "7"
    return run_trial(Trained(**options), spec=FPN, seed=0, folder=folder, report=report, storage=storage), told


def test_a_trial_goes_on_from_its_checkpoint_on_a_node_without_its_files(url: str, tmp_path: Path) -> None:
    storage = Storage(url).at("trials/7")
    outcome, told = attempt(tmp_path / "one", storage, stop=2)
    assert (outcome.state, told) == ("stopped", [1, 2])
    assert not (tmp_path / "one" / "trials" / "7").exists()  # not the driver's disk
    outcome, told = attempt(tmp_path / "two", storage)
    assert (outcome.state, told) == ("complete", [1, 2, 3])  # the reports are repeated
    names = ["checkpoint.pt", MARK, "epochs.jsonl", "events/1", "events/2", "events/3"]
    assert storage.names() == names
    assert storage.read("events/3") == b"epoch 3, from 2"
    assert storage.read("checkpoint.pt") == b"3"


def test_a_folder_of_an_earlier_attempt_is_replaced_and_of_a_later_state_kept(url: str, tmp_path: Path) -> None:
    storage = Storage(url).at("trials/7")
    home = tmp_path / "home"
    home.mkdir()
    (home / "ledger.sqlite").write_text("of a driver")
    attempt(home, storage, stop=1)
    attempt(tmp_path / "away", storage, stop=2)
    (home / "trials" / "7" / "rubbish").write_text("of the earlier attempt")
    attempt(home, storage, fail=3)
    assert not (home / "trials" / "7" / "rubbish").exists()
    assert (home / "trials" / "7" / "checkpoint.pt").read_text() == "2"
    assert b"ZeroDivisionError" in (storage.read("error.txt") or b"")
    (home / "trials" / "7" / "checkpoint.pt").write_text("3")  # written, but the node died before the copy
    outcome, told = attempt(home, storage)
    assert (outcome.state, told) == ("complete", [1, 2])
    assert storage.read("checkpoint.pt") == b"3"


def test_a_copy_cut_short_can_be_continued(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(url).at("trials/7")
    attempt(tmp_path / "one", storage, stop=1)
    put = Storage.put

    def cut(self: Storage, source: Path, name: str) -> None:
        if name == "checkpoint.pt" and source.read_text() == "2":
            raise StorageError("the network is gone")
        put(self, source, name)

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "put", cut)
        attempt(tmp_path / "two", storage, stop=2)
    assert (tmp_path / "two" / "trials" / "7" / "checkpoint.pt").read_text() == "2"  # all that is left of it
    assert storage.read("checkpoint.pt") == b"1"
    outcome, told = attempt(tmp_path / "three", storage)
    assert (outcome.state, set(told)) == ("complete", {1, 2, 3})


def test_checkpoints_within_an_epoch_are_copied_from_time_to_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_copies, "SECONDS", 0.01)
    storage = Storage(str(tmp_path / "storage"))
    folder = tmp_path / "run" / "trials" / "7"
    folder.mkdir(parents=True)
    with TrialCopies(folder, storage).watched():
        (folder / "checkpoint.pt").write_text("half an epoch")
        while storage.read("checkpoint.pt") != b"half an epoch":
            pass


def test_a_storage_that_fails_at_first_loses_the_worker_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("where a folder would be")
    outcome, told = attempt(tmp_path / "one", Storage(str(tmp_path / "file")))
    assert (outcome.state, outcome.kind, told) == ("failed", "lost_worker", [])
    assert "file/" in str(outcome.message)
    assert (tmp_path / "one" / "trials" / "7" / "error.txt").exists()


# --- a run ------------------------------------------------------------------------------------------------------------


def run(out: Path, url: str | None, objective: Any = None, **options: Any) -> str:
    stream = io.StringIO()
    values: dict[str, Any] = {"executor": "local", "count": count, "stream": stream, "storage": url, **options}
    run_study(make_study(), out=out, objective=objective or Replayed(), **values)
    return stream.getvalue()


@dataclass(frozen=True)
class Interrupted:
    """The driver is stopped in the second epoch of a trial."""

    trial: int

    def __call__(self, spec: Any, seed: int, folder: Path, report: Report) -> Mapping[str, Any]:
        def stopping(metrics: dict[str, Any]) -> None:
            report(metrics)
            if int(folder.name) == self.trial and metrics["epoch"] == 2:
                raise KeyboardInterrupt

        return Trained()(spec, seed, folder, stopping)


@pytest.mark.parametrize("url", ["path", "s3"], indirect=True)
def test_a_driver_that_lost_its_disk_continues_from_the_storage(url: str, tmp_path: Path) -> None:
    run(tmp_path / "whole", None, Trained())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", url, Interrupted(3))
    kept = rows(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    said = run(tmp_path / "run", url, Trained())
    assert f"storage: {url}/run, from which the run continues" in said
    assert [row["state"] for row in kept[:3]] == ["complete", "complete", "planned"]
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")
    assert (tmp_path / "run" / "trials" / "3" / "events" / "3").read_text() == "epoch 3, from 2"
    assert len(Runs(tmp_path / "run").sessions()) == 2
    assert Runs(tmp_path / "run").samples()[0][2]
    assert f"storage: {url}/run\n" in run(tmp_path / "run", url)  # nothing to do, and nothing taken


@pytest.mark.parametrize("url", ["path", "s3"], indirect=True)
def test_a_run_is_brought_to_another_machine(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "run", url)
    for name in ("detections.json", "weights.pt", "best.pt"):
        Storage(url).write(f"run/trials/2/{name}", b"[]")
    (tmp_path / "run" / "report").mkdir()
    (tmp_path / "run" / "report" / "index.html").write_text("a report")
    RunCopies(RunFolder(tmp_path / "run"), url).copy_report()
    assert main(["fetch", f"{url}/run", str(tmp_path / "here")]) == 0
    assert rows(tmp_path / "here") == rows(tmp_path / "run")
    trial = tmp_path / "here" / "trials" / "2"
    assert sorted(path.name for path in trial.iterdir()) == ["detections.json", "epochs.jsonl"]
    assert (tmp_path / "here" / "report" / "index.html").read_text() == "a report"
    assert main(["fetch", f"{url}/run", str(tmp_path / "there"), "--weights"]) == 0
    assert (tmp_path / "there" / "trials" / "2" / "weights.pt").read_bytes() == b"[]"
    capsys.readouterr()
    assert main(["fetch", f"{url}/run", str(tmp_path / "here")]) == 2
    assert "here holds a run; choose a new or empty folder" in capsys.readouterr().err
    assert main(["fetch", f"{url}/none", str(tmp_path / "new")]) == 2
    assert "none is not a copy of a run: it has no ledger.sqlite" in capsys.readouterr().err


def test_small_files_of_a_trial_elsewhere_come_to_the_driver(path_url: str, tmp_path: Path) -> None:
    run(tmp_path / "run", path_url)
    copies = RunCopies(RunFolder(tmp_path / "run"), path_url)
    copies.begin("mark")
    shutil.rmtree(tmp_path / "run" / "trials" / "2")
    copies.storage_of(2).write("detections.json", b"[]")
    copies.trial_ended(2)
    names = sorted(path.name for path in (tmp_path / "run" / "trials" / "2").iterdir())
    assert names == ["detections.json", "epochs.jsonl"]


def test_a_storage_of_another_run_is_refused(path_url: str, tmp_path: Path) -> None:
    run(tmp_path / "a" / "run", path_url)
    run(tmp_path / "b" / "run", None)
    with pytest.raises(UserError, match=r"storage/run has another run; remove .*b/run to continue from there, or give"):
        run(tmp_path / "b" / "run", path_url)


def test_a_folder_older_than_its_copy_is_refused(path_url: str, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", path_url, Interrupted(1))
    shutil.copytree(tmp_path / "run", tmp_path / "old" / "run")
    run(tmp_path / "run", path_url)
    with pytest.raises(UserError, match="storage/run has later sessions of this run; remove"):
        run(tmp_path / "old" / "run", path_url)


def test_a_driver_stops_when_another_writes_to_its_copy(path_url: str, tmp_path: Path) -> None:
    def other(*_: Any) -> Mapping[str, Any]:
        Storage(path_url).write("run/driver.json", json.dumps({"pid": 12, "host": "there"}).encode())
        return result(FPN, 0, 3)

    with pytest.raises(
        UserError, match="run is being written by process 12 on there, which has started since; this driver"
    ):
        run(tmp_path / "run", path_url, other)
    states = [row["state"] for row in rows(tmp_path / "run")]
    assert states.count("complete") == 1


def test_a_run_without_copies_gets_them_with_its_checkpoints(path_url: str, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", None, Interrupted(2))
    run(tmp_path / "run", path_url, Interrupted(7))
    shutil.rmtree(tmp_path / "run")
    assert Storage(path_url).read("run/trials/2/events/2") == b"epoch 2, from 0"
    assert Storage(path_url).read("run/trials/2/events/3") == b"epoch 3, from 2"


def test_a_failed_trial_that_starts_over_leaves_its_copy_aside(path_url: str, tmp_path: Path) -> None:
    run(tmp_path / "run", path_url, Replayed(fail={"fpn": "raise"}))
    failed = [place for place, row in enumerate(rows(tmp_path / "run"), 1) if row["state"] == "failed"]
    run(tmp_path / "run", path_url, retry_failed=True)
    assert [row["state"] for row in rows(tmp_path / "run")] == ["complete"] * 6
    names = Storage(path_url).names()
    for trial in failed:
        assert f"run/trials/{trial}.failed-1/error.txt" in names
        assert f"run/trials/{trial}/error.txt" not in names
        assert len(log(tmp_path / "run" / "trials" / str(trial))) == 4  # a start and three epochs
        assert (tmp_path / "run" / "trials" / f"{trial}.failed-1" / "error.txt").exists()


def test_a_storage_that_goes_away_is_said_once_and_the_run_is_whole(path_url: str, tmp_path: Path) -> None:
    storage = tmp_path / "storage"

    def broken(spec: Any, seed: int, folder: Path, report: Report) -> Mapping[str, Any]:
        if int(folder.name) == 2 and not (tmp_path / "broken").exists():
            (tmp_path / "broken").touch()
            storage.rename(tmp_path / "gone")
            storage.write_text("a file where the folder was")
        report(result(spec, seed, 1))
        return result(spec, seed, 3)

    said = run(tmp_path / "run", path_url, broken)
    assert said.count("it will be tried again") == 1
    assert f"{tmp_path / 'run'} is whole, and the same command copies it" in said
    assert rows(tmp_path / "run")[0]["state"] == "complete"
    storage.unlink()
    (tmp_path / "gone").rename(storage)
    run(tmp_path / "run", path_url, broken, retry_failed=True)
    shutil.rmtree(tmp_path / "run")
    run(tmp_path / "run", path_url, broken)
    assert [row["state"] for row in rows(tmp_path / "run")] == ["complete"] * 6


def test_the_ledger_is_copied_from_time_to_time(path_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "run", path_url)
    copies = RunCopies(RunFolder(tmp_path / "run"), path_url)
    copies.begin("mark")
    Storage(path_url).write("run/ledger.sqlite", b"old")
    copies.tick()
    assert Storage(path_url).read("run/ledger.sqlite") == b"old"  # not yet
    monkeypatch.setattr(run_copies, "SECONDS", 0.0)
    copies.tick()
    copy = tmp_path / "copy.sqlite"
    Storage(path_url).get("run/ledger.sqlite", copy)
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(*) FROM trials").fetchone() == (6,)


def test_an_unusable_storage_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the storage nowhere://x/run cannot be used"):
        run(tmp_path / "run", "nowhere://x")
    assert not (tmp_path / "run" / "ledger.sqlite").exists()
