"""A Ray cluster of two nodes on loopback, one core each, for tests. Its processes carry a mark, and end by their ids.

Drivers are to be processes of their own: what a Ray of our own has set in this one would keep nodes from joining.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scaling_lab.study.run.processes import MARK, clean_up, make_mark, marked, temporary_folder
from tests.study.engine import ROOT, wait_for

# What every node and every driver needs.
ACCESS = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}

# Ray takes 127.0.0.1 for the machine's address in the network; these it leaves as they are.
HEAD, SECOND = "127.0.0.2", "127.0.0.3"


@dataclass(frozen=True)
class Cluster:
    """A cluster's address, the mark of its processes, and a function that starts its second node."""

    address: str
    mark: str
    grow: Callable[[], None]

    def raylets(self) -> list[int]:
        """The raylets' ids, the head's first: its port is the cluster's."""
        found = [pid for pid in marked(self.mark) if _command(pid)[0].endswith("/raylet")]
        return sorted(found, key=lambda pid: "--head" not in _command(pid))

    def workers(self, raylet: int) -> list[int]:
        """The ids of a node's workers."""
        return [pid for pid in marked(self.mark) if _parent(pid) == raylet]


@contextmanager
def two_nodes(folder: Path, *, second: Sequence[str] = (), wrap: Sequence[str] = ()) -> Iterator[Cluster]:
    """Start both; the second node's `ray start` gets further options, and runs in the command `wrap`."""
    with one_node(folder, second=second, wrap=wrap) as cluster:
        cluster.grow()
        yield cluster


@contextmanager
def one_node(
    folder: Path, *, head: Sequence[str] = (), second: Sequence[str] = (), wrap: Sequence[str] = ()
) -> Iterator[Cluster]:
    """Start the head alone, with further options of `ray start`; `grow` starts the second node."""
    mark, port = make_mark(), _free_port()
    nodes: list[subprocess.Popen[bytes]] = []

    def grow() -> None:
        own = [f"--address={HEAD}:{port}", f"--node-ip-address={SECOND}", *second]
        _start(nodes, folder / "second.log", mark, *own, wrap=wrap)

    own = f"--head --node-ip-address={HEAD} --port={port}".split()
    own += [f"--temp-dir={temporary_folder(mark)}", "--include-dashboard=false", *head]
    try:
        _start(nodes, folder / "head.log", mark, *own)
        yield Cluster(f"{HEAD}:{port}", mark, grow)
    finally:
        clean_up(mark, patience=0)
        for node in nodes:
            node.wait()


def _start(nodes: list[subprocess.Popen[bytes]], log: Path, mark: str, *options: str, wrap: Sequence[str] = ()) -> None:
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", "--disable-usage-stats"]
    ray += ["--object-store-memory=100000000", f"--dashboard-agent-listen-port={_free_port()}"]
    own = {"SPT_NOENV": "1", "PYTHONPATH": str(ROOT)}  # the first leaves the mark in the environment
    for _ in range(4):
        with log.open("w") as file:
            node = subprocess.Popen(
                [*wrap, *ray, *options],
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                env={**os.environ, **ACCESS, **own, MARK: mark}, start_new_session=True, cwd=ROOT,
            )  # fmt: skip
        nodes.append(node)
        wait_for(lambda: "Ray runtime started" in log.read_text() or node.poll() is not None, seconds=300)  # noqa: B023
        # Ray gives a node 30 s to start; on a busy machine the next attempt may do.
        if node.poll() is None or "timed out during startup" not in log.read_text():
            break
    assert node.poll() is None, log.read_text()


def _free_port() -> int:
    with socket.socket() as any_socket:
        any_socket.bind(("127.0.0.1", 0))
        return int(any_socket.getsockname()[1])


def _command(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
