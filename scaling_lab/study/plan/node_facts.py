"""The facts of a cluster node, gathered by a task on it. checkup.py judges them."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling_lab.data.sources import source_from_dict
from scaling_lab.errors import UserError
from scaling_lab.machine import Space, hidden_gpus, shared_memory
from scaling_lab.study.ledger.provenance import git_state, versions

_PACKAGES = ("python", "scaling-lab", "ray", "torch", "timm", "optuna")
_LISTENS = "0A"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A node's facts.

    `storage` is what is wrong with the shared folder, `free` the bytes on its disk, `shared_memory` the size of /dev/shm.
    `gpus` are those that torch sees, `hidden` why it sees fewer than the driver, `cuda` its release of CUDA. `data_digest` is
    that of the data asked for, `data_problem` why they cannot be used. `listening` are the addresses beyond loopback at which
    Ray listens.
    """

    host: str
    versions: dict[str, str]
    commit: str | None
    is_changed: bool | None
    source: str
    storage: str | None
    free: int
    shared_memory: Space | None
    gpus: int
    hidden: str | None
    cuda: str | None
    data_digest: str | None
    data_problem: str | None
    has_token: bool
    listening: tuple[str, ...]


def gather(
    folder: Path, *, asked: str, name: str, ports: Iterable[int], data: Mapping[str, Any] | None = None
) -> Facts:
    """Gather the facts of this node. `folder` holds a file `name` in which the driver wrote `asked`.

    `ports` are those of Ray's daemons on this node; the ports of this process are checked too. `data` is a data source as
    plain values, whose annotations and images are looked at.
    """
    import torch
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    commit, is_changed = git_state(Path(__file__))
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    digest, problem = _look_at(data)
    return Facts(
        host=platform.node(),
        versions={package: version for package, version in versions().items() if package in _PACKAGES},
        commit=commit,
        is_changed=is_changed,
        source=source_digest(),
        storage=_try_storage(folder, asked, name),
        free=_free(folder),
        shared_memory=shared_memory(),
        gpus=gpus,
        hidden=hidden_gpus(gpus, torch.version.cuda),
        cuda=torch.version.cuda,
        data_digest=digest,
        data_problem=problem,
        has_token=is_token_auth_enabled(),
        listening=tuple(sorted(_beyond_loopback(set(ports)))),
    )


def source_digest() -> str:
    """Return a 12-digit hexadecimal digest of the package's Python files."""
    package = Path(__file__).parents[2]
    whole = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        whole.update(f"{path.relative_to(package)}\n".encode() + path.read_bytes())
    return whole.hexdigest()[:12]


def _try_storage(folder: Path, asked: str, name: str) -> str | None:
    try:
        if (folder / asked).read_text(encoding="utf-8") != asked:
            return "the driver's file has other contents"
        (folder / name).write_text(name, encoding="utf-8")
    except FileNotFoundError:
        return "the driver's file is missing: this is a different folder"
    except OSError as error:
        return error.strerror or str(error)
    return None


def _free(folder: Path) -> int:
    return shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free


def _look_at(data: Mapping[str, Any] | None) -> tuple[str | None, str | None]:
    """Return the digest of the data as this node sees them, and what is wrong with them."""
    if data is None:
        return None, None
    try:
        source = source_from_dict(data)
        digest = source.digest()
        source.check_images("train", "val")
    except (UserError, OSError) as error:
        return None, str(error)
    return digest, None


def _beyond_loopback(ports: set[int]) -> set[str]:
    """Return the non-loopback addresses at which these ports, or sockets of this process, listen."""
    own = _own_sockets()
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]
        except OSError:  # another system, or one without IPv6
            continue
        for line in lines:
            fields = line.split()
            address, _, port = fields[1].partition(":")
            is_ours = int(port, 16) in ports or fields[9] in own
            if fields[3] == _LISTENS and is_ours and not _is_loopback(address):
                found.add(f"{_words(address)}:{int(port, 16)}")
    return found


def _own_sockets() -> set[str]:
    """Return the inodes of this process's sockets."""
    links = []
    for entry in os.scandir("/proc/self/fd"):
        try:
            links.append(os.readlink(entry.path))
        except OSError:  # the scan's own descriptor
            continue
    return {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}


def _is_loopback(address: str) -> bool:
    """Parse an address of /proc/net/tcp: little-endian words of 4 bytes."""
    if len(address) == 8:
        return address.endswith("7F")
    return address == "0" * 24 + "01000000" or (address[:24] == "0" * 16 + "FFFF0000" and address.endswith("7F"))


def _words(address: str) -> str:
    if not address.strip("0"):
        return "all addresses"
    if len(address) == 8:
        return ".".join(str(int(address[place : place + 2], 16)) for place in (6, 4, 2, 0))
    return "an IPv6 address"
