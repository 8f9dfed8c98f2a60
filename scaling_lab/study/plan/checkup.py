"""Checks whether a cluster, or this machine, can run studies: every node's facts against the driver's."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scaling_lab.checks import check_whole
from scaling_lab.data.sources import Source, absolute
from scaling_lab.errors import UserError
from scaling_lab.machine import driver_needed
from scaling_lab.study.plan.node_facts import Facts, gather
from scaling_lab.study.run.processes import make_mark, watched
from scaling_lab.study.run.ray_executor import Resources, check_address, check_reachable, connected

# Importing torch from a slow shared disk can take minutes.
_PATIENCE = 300.0
_LEAST_FREE = 10**9
# NVIDIA's advice for containers with several GPUs, which share memory through NCCL; Docker gives 64 MB.
_LEAST_SHARED = 2**30

# Fields of a node's entry with the ports of its daemons.
_PORTS = ("NodeManagerPort", "ObjectManagerPort", "MetricsExportPort", "RuntimeEnvAgentPort")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check of one node: `found` describes the state; for a failed check, `advice` says what to do."""

    node: str
    check: str
    found: str
    advice: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "ok": self.advice is None}


def check_up(*, address: str | None, storage: Path, nodes: int = 1, data: Source | None = None) -> list[Check]:
    """Check all nodes of the cluster at `address`, or of a local Ray on this machine, their shared folder, and the data.

    Waits for `nodes` nodes. Raises UserError where the cluster does not answer, has too few nodes, or this machine cannot
    write the folder or read the data.
    """
    check_whole("--nodes", nodes, least=1)
    if nodes > 1 and address is None:
        raise UserError(f"--nodes is {nodes}; a single machine is 1; give a cluster with --address")
    deadline = time.monotonic() + _PATIENCE
    if address is not None:
        check_address(address)
        _wait_for(address, deadline if nodes > 1 else 0.0)
    with _asked(storage) as (folder, token):
        question: dict[str, Any] = {
            "folder": folder,
            "asked": token,
            "data": None if data is None else absolute(data).to_dict(),
        }
        mark = make_mark()
        with watched(mark), connected(Resources(address=address), mark) as ray:
            there = _living(ray)
            while len(there) < nodes:
                if time.monotonic() > deadline:
                    raise UserError(f"--nodes is {nodes}, but {len(there)} joined within {_PATIENCE:g} s")
                time.sleep(0.5)
                there = _living(ray)
            answers = _ask(ray, there, question)
        own = gather(**question, name="driver", ports=())
        if own.data_problem is not None:
            raise UserError(own.data_problem)
        checks = []
        for node, answer in zip(there, answers, strict=True):
            name = f"{node['NodeManagerAddress']} {node['NodeID'][:6]}"
            if isinstance(answer, str):
                checks.append(Check(node=name, check="answer", found=answer, advice=_INSTALL))
            else:
                checks += _judge(name, answer, own, node, folder)
        return checks


def _wait_for(address: str, deadline: float) -> None:
    """Wait until the cluster's head answers."""
    while True:
        try:
            check_reachable(address)
        except UserError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


def _living(ray: Any) -> list[Mapping[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


@contextmanager
def _asked(storage: Path) -> Iterator[tuple[Path, str]]:
    """Make a temporary folder in the storage, with a file that all nodes should see."""
    token = secrets.token_hex(8)
    folder = storage.resolve() / f".doctor-{token}"
    try:
        folder.mkdir(parents=True)
        (folder / token).write_text(token, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{storage} cannot be written here: {error.strerror}; give another --storage") from None
    try:
        yield folder, token
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ask(ray: Any, nodes: list[Mapping[str, Any]], question: dict[str, Any]) -> list[Facts | str]:
    """Run a task on each node and return its facts, or an error message."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    gcs = ray.get_runtime_context().gcs_address
    host, _, port = gcs.rpartition(":")
    running = []
    for node in nodes:
        strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=strategy)(gather)
        ports = [node[name] for name in _PORTS if node.get(name)]
        if node["NodeManagerAddress"] == host:
            ports.append(int(port))
        running.append(task.remote(**question, name=node["NodeID"], ports=ports))
    answered, _ = ray.wait(running, num_returns=len(running), timeout=_PATIENCE)
    answers: list[Facts | str] = []
    for each in running:
        if each not in answered:
            answers.append(f"no answer within {_PATIENCE:g} s")
            continue
        try:
            answers.append(ray.get(each))
        except Exception as error:  # any error of the task, import errors on the node above all
            answers.append(str(error).strip().splitlines()[-1])
    return answers


_INSTALL = "install scaling_lab there, at the driver's versions"


def _judge(name: str, facts: Facts, own: Facts, node: Mapping[str, Any], folder: Path) -> list[Check]:
    def check(which: str, found: str, wrong: bool, advice: str) -> Check:
        return Check(node=name, check=which, found=found, advice=advice if wrong else None)

    others = [
        f"{package} is {facts.versions.get(package, 'missing')}, the driver's {version}"
        for package, version in own.versions.items()
        if facts.versions.get(package) != version
    ]
    versions = ", ".join(f"{package} {version}" for package, version in facts.versions.items())
    storage = facts.storage
    if storage is None and not (folder / node["NodeID"]).is_file():
        storage = "the node's file is not visible here"
    counted = int(node["Resources"].get("GPU", 0))
    seen = f"torch sees {facts.gpus}, Ray has {counted}; {driver_needed(facts.cuda)}"
    match = "start Ray there with the same --num-gpus, or install a driver and torch that match the GPUs"
    disk = f"{facts.free / 1e9:.3g} GB free"
    mode = "token" if facts.has_token else "disabled"
    where = " and ".join(sorted({each.rpartition(":")[0] for each in facts.listening})) or "loopback only"
    return [
        check("versions", ", ".join(others) or versions, bool(others), _INSTALL),
        check("code", _code(facts, own), facts.source != own.source, "install the driver's commit there"),
        check(
            "storage",
            storage or f"{folder.parent} can be read and written on both sides",
            storage is not None,
            f"mount one folder at {folder.parent} on all nodes, writable, or give another --storage",
        ),
        _shared_memory(name, facts),
        check("disk", disk, facts.free < _LEAST_FREE, f"free space on the disk of {folder.parent}"),
        check("gpus", seen, facts.gpus != counted or facts.hidden is not None, facts.hidden or match),
        *_data(name, facts, own),
        check(
            "access",
            f"authentication {mode}, Ray listens at {where}",
            bool(facts.listening) and not facts.has_token,
            "set RAY_AUTH_MODE=token and one RAY_AUTH_TOKEN before `ray start` on every node: an open port lets anyone run code",
        ),
    ]


def _data(name: str, facts: Facts, own: Facts) -> list[Check]:
    """Check the data, if asked for: a node without them, or with others, would fail its trials or train on others."""
    if own.data_digest is None:
        return []
    found = facts.data_problem or f"annotations {(facts.data_digest or '')[:12]}, all images are there"
    is_other = facts.data_digest != own.data_digest
    if is_other and facts.data_problem is None:
        found += f"; the driver's annotations are {own.data_digest[:12]}"
    advice = "mount or copy the driver's data at the same path there"
    return [Check(node=name, check="data", found=found, advice=advice if is_other else None)]


def _shared_memory(name: str, facts: Facts) -> Check:
    """Check /dev/shm. Image readers do not use it; a Ray store that does not fit goes to disk."""
    space, wanted = facts.shared_memory, _LEAST_SHARED if facts.gpus > 1 else 0
    found = "none" if space is None else f"{space.free / 1e6:,.0f} of {space.total / 1e6:,.0f} MB free in /dev/shm"
    uses = f"{facts.gpus} GPUs need {wanted / 1e6:,.0f} MB" if wanted else "none needed: image readers do not use it"
    is_short = wanted > (0 if space is None else space.free)
    advice = "start the container with --shm-size=1g, or with ipc: host (in Kubernetes: a volume in memory at /dev/shm)"
    return Check(node=name, check="shared memory", found=f"{found}; {uses}", advice=advice if is_short else None)


def _code(facts: Facts, own: Facts) -> str:
    words = facts.commit[:10] if facts.commit else "no checkout"
    words += " with changes" if facts.is_changed else ""
    return f"{words}, source {facts.source}" + ("" if facts.source == own.source else f", the driver's {own.source}")
