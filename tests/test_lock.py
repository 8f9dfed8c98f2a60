"""One writer at a time: who holds a lock is said, and a killed holder leaves no obstacle."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scaling_lab.errors import UserError
from scaling_lab.runs.lock import WriterLock, only_writer, read_holder

_HOLDS = """
import os, sys, time
from pathlib import Path
from scaling_lab.runs.lock import WriterLock
lock = WriterLock(Path(sys.argv[1]))
lock.write({"mark": "m"})
if len(sys.argv) > 2 and os.fork() == 0:  # a child keeps the lock for a while, as a reader of images does
    os.close(1)
    time.sleep(1)
    os._exit(0)
print("held", flush=True)
time.sleep(600)
"""


def _hold(path: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _HOLDS, str(path), *more]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_another_process_is_named_and_its_death_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with _hold(path) as holder:
        said = (
            rf"{tmp_path} is being written by process {holder.pid} on {platform.node()} since 20.*; wait until it ends "
        )
        with pytest.raises(UserError, match=said + r"or stop it, or name another with --out$"):
            WriterLock(path)
        with pytest.raises(UserError, match=r"^the file is being written by .* or stop it$"):
            WriterLock(path, what=Path("the file"), option=None)
        holder.send_signal(signal.SIGKILL)
    lock = WriterLock(path)
    assert (lock.previous["pid"], lock.previous["mark"]) == (holder.pid, "m")
    lock.release()
    assert path.read_text() == ""


def test_the_children_of_a_killed_holder_are_waited_for(tmp_path: Path) -> None:
    with _hold(tmp_path / "x.lock", "with a child") as holder:
        holder.send_signal(signal.SIGKILL)
    WriterLock(tmp_path / "x.lock").release()


def test_a_lock_of_a_command_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with only_writer(path):
        assert read_holder(path)["pid"] == os.getpid()
        with pytest.raises(UserError, match=f"is being written by process {os.getpid()} "), only_writer(path):
            pass
        assert path.exists()
    assert not path.exists()
    with only_writer(path):
        assert path.exists()


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b""])
def test_a_lock_file_of_other_content_is_no_obstacle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.lock").write_bytes(content)
    lock = WriterLock(tmp_path / "x.lock")
    assert lock.previous == {}
    lock.remove()
    assert list(tmp_path.iterdir()) == []


def test_where_no_lock_can_be_the_path_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone/x.lock cannot be written: No such file or directory"):
        WriterLock(tmp_path / "gone" / "x.lock")
