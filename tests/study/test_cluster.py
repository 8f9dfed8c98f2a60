"""Studies and checks on a real Ray cluster of two nodes: what is spread, what is lost with a node, what is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scaling_lab.runs.reader import Runs
from tests.coco_files import write_coco
from tests.faults.afterwards import look_at
from tests.study.cluster import ACCESS, HEAD, SECOND, one_node, two_nodes
from tests.study.engine import ROOT, log, rows, start_driver, wait_for
from tests.study.pair import words

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]

PAIR = """
import sys
from scaling_lab.study import Halving
from scaling_lab.study.run.runner import run_study
from tests.study.engine import count, make_study
from tests.study.pair import TWO, Shared

study = make_study(**TWO, objectives={"ap": "maximize"}, stopping=Halving(min_epochs=1, factor=3), trials=4)
run_study(study, out=sys.argv[1], address=sys.argv[2], count=count, objective=Shared(fail={}))
"""
# What the cluster still holds, as another driver sees it.
LEFT = """
import json, sys
import ray
from ray._private.state import actors

ray.init(sys.argv[1], log_to_driver=False)
groups = [group["state"] for group in ray.util.placement_group_table().values()]
states = [actor["State"] for actor in actors().values()]
cpus = [ray.available_resources().get("CPU"), ray.cluster_resources().get("CPU")]
print(json.dumps({"groups": sorted(set(groups)), "actors": sorted(set(states)), "cpus": cpus}))
"""


@pytest.fixture(autouse=True)
def access(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ACCESS.items():
        monkeypatch.setenv(name, value)


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=600)


def _doctor(address: str, storage: Path, *options: str) -> tuple[int, dict[str, dict[str, dict[str, Any]]]]:
    """Give the exit code, and the checks by node and name."""
    done = _python(
        "-m", "scaling_lab.cli", "doctor", "--json", "--address", address, "--storage", str(storage), *options
    )
    checks: dict[str, dict[str, dict[str, Any]]] = {}
    for check in json.loads(done.stdout):
        checks.setdefault(check["node"].split()[0], {})[check["check"]] = check
    return done.returncode, checks


def test_two_nodes_are_fit_and_train_a_trial_together(tmp_path: Path) -> None:
    with two_nodes(tmp_path) as cluster:
        code, checks = _doctor(cluster.address, tmp_path / "storage")
        assert checks.keys() == {HEAD, SECOND}
        assert all(check["ok"] for node in checks.values() for check in node.values())
        assert code == 0
        assert list((tmp_path / "storage").iterdir()) == []
        access = "authentication token, Ray listens at all addresses"
        assert [node["access"]["found"] for node in checks.values()] == [access] * 2

        out = tmp_path / "run"
        done = _python("-c", PAIR, str(out), cluster.address)
        assert done.returncode == 0, done.stderr
        assert [row["state"] for row in rows(out)] == ["complete", "complete", "stopped", "complete"]
        for trial in range(1, 5):
            assert words(out, trial)[0] == "start at 0 beside 0"
            raylets = [int((out / "trials" / f"{trial}" / f"pids-{rank}").read_text().split()[1]) for rank in (0, 1)]
            assert sorted(raylets) == sorted(cluster.raylets())
        left = json.loads(_python("-c", LEFT, cluster.address).stdout)
        assert left == {"groups": ["REMOVED"], "actors": ["DEAD"], "cpus": [2.0, 2.0]}
        assert not (out / "ray").exists()


def test_trials_of_a_lost_node_go_on_elsewhere(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with two_nodes(tmp_path) as cluster:
        _, second = cluster.raylets()
        driver = start_driver(out, executor="ray", address=cluster.address, objective={"hold": 1}, study={"trials": 4})
        wait_for(lambda: all((out / "trials" / str(trial) / "checkpoint.pt").exists() for trial in (1, 2)), seconds=300)
        pids = {int(log(out / "trials" / str(trial))[0].split()[0]): trial for trial in (1, 2)}
        (lost,) = [trial for pid, trial in pids.items() if pid in cluster.workers(second)]
        os.kill(second, signal.SIGKILL)
        (worker,) = [pid for pid, trial in pids.items() if trial == lost]
        wait_for(lambda: not Path(f"/proc/{worker}/fd").exists())
        (out / "release").touch()
        said, _ = driver.communicate(timeout=300)
    assert said.splitlines()[-1] == "all 4 trials are done", said
    assert [(row["state"], row["failure_kind"]) for row in rows(out)] == [("complete", None)] * 4
    assert len(Runs(out).epochs()) == 12
    for trial in range(1, 5):
        again = ["start at 1"] if trial == lost else []
        assert words(out, trial) == ["start at 0", "epoch 1", *again, "epoch 2", "epoch 3"]
    look_at(out)


def test_a_gpu_that_fails_in_trial_after_trial_is_left_out(tmp_path: Path) -> None:
    """The second node has two GPUs for Ray; trials on one of them fail, and none is lost."""
    out = tmp_path / "run"
    study = {"gpus_per_trial": 1, "cpus_per_trial": 0.5, "sampler": "grid"}
    fail = dict.fromkeys(("none", "fpn", "bifpn"), "fault_of_gpu_0")
    with two_nodes(tmp_path, second=["--num-gpus=2"]) as cluster:
        options: dict[str, Any] = {"address": cluster.address, "objective": {"fail": fail, "hold": 1}, "study": study}
        driver = start_driver(out, executor="ray", **options)
        # One trial waits on the GPU that works; the others start on GPU 0 until it is left out.
        wait_for(lambda: sum(path.read_text().count("start at") for path in out.glob("trials/*/log.txt")) == 4)
        (out / "release").touch()
        said, _ = driver.communicate(timeout=300)
    assert said.splitlines()[-1] == "all 6 trials are done", said
    assert said.count(f"GPU 0 of {SECOND} is left out of this run: 3 faults within 10 minutes") == 1
    assert said.count(f"met a fault of hardware on GPU 0 of {SECOND} (AcceleratorError: CUDA error: unc") == 3
    assert [(row["state"], row["epochs_done"]) for row in rows(out)] == [("complete", 3)] * 6
    look_at(out)


def test_a_cluster_without_room_grows(tmp_path: Path) -> None:
    """The head has no core for trials, and the node that has one comes later, as an autoscaler's do."""
    out = tmp_path / "run"
    with one_node(tmp_path, head=["--num-cpus=0"]) as cluster:
        driver = start_driver(out, executor="ray", address=cluster.address, at_once=2, study={"trials": 2})
        assert driver.stdout is not None
        assert any("no trial fits the cluster's machines yet: waiting for it to grow" in line for line in driver.stdout)
        cluster.grow()
        said, _ = driver.communicate(timeout=300)
    assert said.splitlines()[-1] == "all 2 trials are done", said
    assert [row["state"] for row in rows(out)] == ["complete"] * 2


def test_the_doctor_finds_what_is_wrong_with_a_node(tmp_path: Path) -> None:
    """The second node has mounted another folder, another scaling_lab and another optuna at the same places."""
    storage, copy, data = tmp_path / "storage", tmp_path / "copy", tmp_path / "data" / "coco"
    storage.mkdir()
    write_coco(data, train=2, val=2)
    shutil.copytree(ROOT / "scaling_lab", copy)
    (copy / "errors.py").write_text((copy / "errors.py").read_text() + "\n# another\n")
    told = Path(_python("-c", "import importlib.metadata as m; print(m.distribution('optuna')._path)").stdout.strip())
    other = tmp_path / "METADATA"
    text = (told / "METADATA").read_text()
    version = next(line for line in text.splitlines() if line.startswith("Version: "))
    other.write_text(text.replace(version, "Version: 4.0.0"))
    mounts = [
        f"mount -t tmpfs none {storage}",
        f"mount -t tmpfs none {data.parent}",
        f"mount --bind {copy} {ROOT / 'scaling_lab'}",
        f"mount --bind {other} {told / 'METADATA'}",
    ]
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody make a mount namespace")
    wrap = ["unshare", "-rm", "sh", "-c", f'{" && ".join(mounts)} && exec "$@"', "sh"]
    with two_nodes(tmp_path, second=["--num-gpus=1"], wrap=wrap) as cluster:
        code, checks = _doctor(cluster.address, storage, "--data", f"coco:{data}")
        done = _python("-m", "scaling_lab.cli", "doctor", "--address", cluster.address, "--storage", str(storage))
    assert code == done.returncode == 1
    assert all(check["ok"] for check in checks[HEAD].values())
    wrong = {name: check["found"] for name, check in checks[SECOND].items() if not check["ok"]}
    assert wrong.keys() == {"versions", "code", "storage", "gpus", "data"}
    assert wrong["versions"] == f"optuna is 4.0.0, the driver's {version.removeprefix('Version: ')}"
    assert ", the driver's " in wrong["code"]
    assert wrong["storage"] == "the driver's file is missing: this is a different folder"
    assert wrong["gpus"].startswith("torch sees 0, Ray has 1; torch's CUDA ")
    assert wrong["data"].startswith(f"the folder {data} does not exist")
    assert f"storage: mount one folder at {storage} on all nodes, writable" in done.stdout


STORED = """
import sys
from scaling_lab.study.run.runner import run_study
from tests.study.engine import count, make_study
from tests.study.away import Away

out, address, storage = sys.argv[1:]
run_study(make_study(), out=out, address=address, count=count, objective=Away(storage + "/waits"), storage=storage)
"""


def test_a_trial_goes_on_though_its_node_and_its_disk_are_lost(tmp_path: Path) -> None:
    """The nodes share no folder for runs, but a storage. The second is lost after two epochs of a trial."""
    out, storage = tmp_path / "runs" / "run", tmp_path / "storage"
    out.parent.mkdir()
    storage.mkdir()
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody make a mount namespace")
    wrap = ["unshare", "-rm", "sh", "-c", f'mount -t tmpfs none {out.parent} && exec "$@"', "sh"]
    with two_nodes(tmp_path, wrap=wrap) as cluster:
        command = [sys.executable, "-c", STORED, str(out), cluster.address, str(storage)]
        driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
        wait_for(lambda: (storage / "waits").exists() or driver.poll() is not None)
        second = cluster.raylets()[1]
        for pid in [*cluster.workers(second), second]:
            os.kill(pid, signal.SIGKILL)
        said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, said
    assert [row["state"] for row in rows(out)] == ["complete"] * 6, said
    trial = int((storage / "waits").read_text())
    told = [(storage / "run" / "trials" / str(trial) / f"epoch-{epoch}").read_text() for epoch in (1, 2, 3)]
    assert told == ["away from 0", "away from 0", "here from 2"]
    assert (out / "trials" / str(trial) / "checkpoint.pt").read_text() == "3"
    assert f"trial {trial:>3} lost its worker" in said
