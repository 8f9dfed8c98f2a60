"""Joins the workers that train one detector in torch's process group, through a shared file.

torch's alternative, a store at a port, would listen on all networks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

LOOPBACK = "127.0.0.1"

# The longest wait of a worker for the others. NCCL's ten minutes are too short while worker 0 measures AP.
_PATIENCE = timedelta(minutes=30)

_SIOCGIFADDR = 0x8915


def join(rank: int, size: int, *, meeting: Path, device: str, address: str = LOOPBACK) -> None:
    """Join torch.distributed's default group as worker `rank` of `size`: gloo's on CPUs, NCCL's on GPUs.

    `meeting` is a file that all workers see. `device` is the worker's own. The workers use the network interface with
    this machine's `address`.
    """
    interface = _interface(address)
    if interface is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", interface)
    if device != "cpu":
        torch.cuda.set_device(device)
    backend = "gloo" if device == "cpu" else "nccl"
    dist.init_process_group(backend, init_method=f"file://{meeting}", rank=rank, world_size=size, timeout=_PATIENCE)


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
