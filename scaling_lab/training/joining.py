"""Joins the workers that train one detector in torch's process group.

Our own workers meet through a shared file, since a store at a port would listen on all networks. Those that torchrun starts
meet at the address that it names.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

LOOPBACK = "127.0.0.1"

# The longest wait of a worker for the others, as while worker 0 computes AP or another one compiles.
_PATIENCE = timedelta(minutes=10)

_SIOCGIFADDR = 0x8915


@dataclass(frozen=True, kw_only=True)
class Launched:
    """A worker's place in a group that torchrun has started: its rank among all and on its machine, and their numbers."""

    rank: int
    size: int
    local_rank: int
    local_size: int


def launched() -> Launched | None:
    """Return this process's place under torchrun, or any launcher that sets its variables; None without one."""
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        return None
    return Launched(
        rank=int(os.environ["RANK"]),
        size=int(os.environ["WORLD_SIZE"]),
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
        local_size=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
    )


def join(rank: int, size: int, *, meeting: Path, device: str, address: str = LOOPBACK) -> None:
    """Join torch.distributed's default group as worker `rank` of `size`: gloo's on CPUs, NCCL's on GPUs.

    `meeting` is a file that all workers see. `device` is the worker's own. The workers use the network interface with
    this machine's `address`.
    """
    _join(device, address, init_method=f"file://{meeting}", rank=rank, world_size=size)


def join_launched(place: Launched, device: str) -> None:
    """Join the group that torchrun has started, at its address. `device` is the worker's own."""
    _join(device, LOOPBACK if place.local_size == place.size else None, init_method="env://")


def _join(device: str, address: str | None, **where: Any) -> None:
    interface = None if address is None else _interface(address)
    if interface is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", interface)
    if device != "cpu":
        torch.cuda.set_device(device)
    # gloo beside NCCL carries what is on the CPU, such as detections and random states.
    backend = "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=_PATIENCE, **where)


def _interface(address: str) -> str | None:
    """Return the network interface with an IPv4 address, or None to let torch choose."""
    names = [name for _, name in socket.if_nameindex()]
    if address.startswith("127."):
        return next(name for name in names if name.startswith("lo"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for name in names:
            with contextlib.suppress(OSError):  # an interface without an address
                answer = fcntl.ioctl(any_socket, _SIOCGIFADDR, struct.pack("256s", name.encode()))
                if socket.inet_ntoa(answer[20:24]) == address:
                    return name
    return None
