"""The files for clusters: Ray's own checks of the launcher's, the fields of a RayJob, and the Slurm script, really run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from scaling_lab.cli import main
from scaling_lab.runs.reader import Runs
from scaling_lab.starter import starter_folder
from scaling_lab.study.run.processes import MARK, clean_up, make_mark, marked
from tests.study.cluster import HEAD, SECOND

CLUSTERS = Path(__file__).parents[1] / "scaling_lab" / "clusters"
DOCTOR, RUN = "scaling-lab doctor --address auto --nodes 3 ", "scaling-lab run studies/topology_ablation.py "


def _read(name: str) -> tuple[str, Any]:
    text = (CLUSTERS / name).read_text()
    return text, yaml.safe_load(text)


def test_the_launchers_file_is_what_ray_wants() -> None:
    text, config = _read("ray-cluster.yaml")
    prepared = prepare_config(config)
    validate_config({**prepared, "cluster_synced_files": []})
    starts = [
        line for role in ("head", "worker") for line in config[f"{role}_start_ray_commands"] if "ray start" in line
    ]
    assert [line.count("RAY_AUTH_MODE=token ray start") for line in starts] == [1, 1]
    assert config["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    said = text.replace("\n#", "")
    assert said.index("export RAY_AUTH_MODE=token") < said.index(DOCTOR) < said.index(RUN)
    assert len(config["provider"]["worker_ips"]) + 1 == 3


def test_the_rayjob_has_what_its_version_asks_for() -> None:
    """Its whole schema was checked against once: KubeRay's is 1.4 MB."""
    _, job = _read("kuberay-rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    entry, cluster = job["spec"]["entrypoint"], job["spec"]["rayClusterSpec"]
    assert entry.index(DOCTOR) < entry.index(RUN)
    assert entry.endswith('--address auto"')
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["rayVersion"] == ray.__version__
    head, (workers,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert workers["groupName"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    assert workers["replicas"] + 1 == 3
    for group in (head, workers):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert container["resources"]["limits"] == container["resources"]["requests"]
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounted["shared"] == "/shared"
        assert {volume["name"] for volume in pod["volumes"]} == set(mounted)


STUDY = """
from scaling_lab import Recipe, Shapes, Study
from search_spaces.compound import SMALL

def space(trial):
    trial.suggest_categorical("here", [True])
    return SMALL.base

STUDY = Study(question="Does it run?", space=space, data=Shapes(train_images=8, val_images=4),
    recipe=Recipe.short(epochs=EPOCHS, batch_size=4), sampler="grid", seeds=(0, 1))
"""
STUBS = {
    "scontrol": """if [[ $1 == requeue ]]; then echo "requeued $2"; else printf 'head\\nsecond\\n'; fi""",
    "hostname": f"echo '{HEAD} 10.1.2.3'",
    # Slurm's own options, then the command; the second node has an address of its own.
    "srun": f"""
        while [[ $1 == --* ]]; do case $1 in --nodelist=second) second=1;; esac; shift; done
        if [[ ${{second-}} ]]; then exec "$@" --node-ip-address={SECOND}; fi
        exec "$@" """,
}


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
@pytest.mark.parametrize("way", ["ends", "is stopped", "is at its time limit"])
def test_the_slurm_script_runs(tmp_path: Path, way: str) -> None:
    """Two nodes on this machine, in place of Slurm's; the script's own commands, from its first line to its last."""
    assert main(["init", str(tmp_path / "project")]) == 0
    (tmp_path / "project" / "studies" / "tiny.py").write_text(STUDY.replace("EPOCHS", "1" if way == "ends" else "100"))
    stubs = tmp_path / "bin"
    stubs.mkdir()
    for name, body in STUBS.items():
        (stubs / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (stubs / name).chmod(0o755)
    mark = make_mark()
    settings = {
        "PATH": f"{stubs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(starter_folder()),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "head,second",
        "SLURM_CPUS_PER_TASK": "1",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
        MARK: mark,
        "SPT_NOENV": "1",
    }
    others = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = ["bash", "clusters/slurm.sh", "studies/tiny.py"]
    options: dict[str, Any] = {"cwd": tmp_path / "project", "env": {**others, **settings}, "start_new_session": True}
    lines, asked = [], False
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options) as job:
            assert job.stdout is not None
            for line in job.stdout:
                lines.append(line)
                if way != "ends" and not asked and re.match(r"trial +\d+ running", line):
                    job.send_signal(signal.SIGTERM if way == "is stopped" else signal.SIGUSR1)
                    asked = True
        left = marked(mark)
    finally:
        clean_up(mark, patience=0)
        shutil.rmtree(f"/tmp/ray-{settings['SLURM_JOB_ID']}", ignore_errors=True)
    said = "".join(lines)
    assert len(re.findall("access +ok +authentication token", said)) == 2, said
    states = Runs(tmp_path / "project" / "runs" / "tiny").table()["state"].tolist()
    if way == "ends":
        assert (job.returncode, states) == (0, ["complete"] * 2), said
        assert "report: runs/tiny/report/" in said
    else:
        assert (job.returncode, "the same command continues" in said) == (130, True), said
        assert states == ["planned"] * 2
    assert (f"requeued {os.getpid()}\n" in said) == (way == "is at its time limit")
    assert left == []
