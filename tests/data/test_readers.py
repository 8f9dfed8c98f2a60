"""Readers: every batch in its order, no file in /dev/shm, and none of them left behind or waited for in vain."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling_lab.data import readers
from scaling_lab.data.readers import (
    MOST_BYTES,
    LostReader,
    kept_or_own,
    memory_size,
    read_ahead,
    readers_beside,
    readers_kept,
)
from scaling_lab.errors import UserError

SHAPE = (2, 3, 4, 3)


def _numbered(number: int, pixels: np.ndarray) -> str:
    pixels[:] = number
    return f"batch {number}"


def _wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _children() -> set[int]:
    return {child.pid for child in multiprocessing.active_children() if child.pid is not None}


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("batches", [0, 1, 4, 23])
def test_batches_come_in_order_and_each_with_its_own_pixels(workers: int, batches: int) -> None:
    found = []
    for pixels, name in read_ahead(_numbered, batches, shape=SHAPE, workers=workers):
        assert pixels.shape == SHAPE
        assert (pixels == len(found)).all()
        found.append(name)
    assert found == [f"batch {number}" for number in range(batches)]
    assert not _children()


def test_who_stops_early_leaves_no_process() -> None:
    reading = read_ahead(_numbered, 100, shape=SHAPE, workers=3)
    next(reading)
    assert len(_children()) == 3
    reading.close()
    assert not _children()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGXCPU])
def test_a_reader_that_is_lost_is_told_in_one_line(number: signal.Signals) -> None:
    def read(batch: int, pixels: np.ndarray) -> int:
        if batch == 3:
            os.kill(os.getpid(), number)
        return os.getpid()

    with pytest.raises(LostReader) as error:
        list(read_ahead(read, 8, shape=SHAPE, workers=2))
    assert str(error.value).startswith(f"an image reader was ended by {number.name}")
    assert "--workers 0" in str(error.value)
    assert "\n" not in str(error.value)
    assert not _children()


def test_a_reader_that_is_killed_while_it_answers_is_told() -> None:
    """Its answer does not fit the pipe, so that it waits in the middle of it."""

    def read(batch: int, pixels: np.ndarray) -> bytes:
        return bytes(2**24)

    reading = read_ahead(read, 2, shape=SHAPE, workers=1)
    next(reading)
    (reader,) = _children()
    _wait_for(lambda: ") S" in Path(f"/proc/{reader}/stat").read_text())
    os.kill(reader, signal.SIGKILL)
    with pytest.raises(LostReader):
        next(reading)


def test_signals_to_the_whole_group_are_not_the_readers() -> None:
    def read(batch: int, pixels: np.ndarray) -> int:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        return batch

    assert [answer for _, answer in read_ahead(read, 4, shape=SHAPE, workers=2)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("error", "wanted", "words"),
    [
        (UserError("image 3 is truncated"), UserError, "^image 3 is truncated$"),
        (MemoryError(), MemoryError, "out of memory in an image reader"),
        (ZeroDivisionError("as asked for"), RuntimeError, "(?s)failed:.*Traceback.*as asked for"),
    ],
)
def test_what_a_reader_raises_is_raised_here(error: Exception, wanted: type[Exception], words: str) -> None:
    def read(batch: int, pixels: np.ndarray) -> None:
        raise error

    with pytest.raises(wanted, match=words):
        list(read_ahead(read, 2, shape=SHAPE, workers=2))
    assert not _children()


def test_memory_that_is_not_there_is_said_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = memory_size(SHAPE, workers=4, batches=50)
    assert needed == 9 * 2 * 3 * 4 * 3
    monkeypatch.setattr(readers, "free_memory", lambda: needed - 1)
    with pytest.raises(MemoryError, match="9 read-ahead batches need"):
        next(read_ahead(_numbered, 50, shape=SHAPE, workers=4))
    assert not _children()
    monkeypatch.setattr(readers, "free_memory", lambda: needed)
    assert len(list(read_ahead(_numbered, 50, shape=SHAPE, workers=4))) == 50


def test_a_process_that_cannot_be_started_is_said() -> None:
    """This system lets the process have no more open files."""
    code = """
import resource
from tests.data.test_readers import SHAPE, _numbered, read_ahead
resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12))
list(read_ahead(_numbered, 50, shape=SHAPE, workers=12))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "LostReader: an image reader cannot be started: Too many open files" in run.stderr


_ABANDONED = """
import os, time
from tests.data.test_readers import SHAPE, read_ahead

def read(number, pixels):
    return os.getpid()

kept = read_ahead(read, 50, shape=SHAPE, workers=2)
print(*{pid for _, (_, pid) in zip(range(4), kept)}, flush=True)
"""


@pytest.mark.parametrize("end", ["", "os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_readers_end_with_the_process_that_started_them(end: str) -> None:
    """Here in the middle of an epoch: at the program's end, without one, and killed."""
    run = subprocess.run([sys.executable, "-c", _ABANDONED + end], capture_output=True, text=True, timeout=300)
    pids = [int(word) for word in run.stdout.split()]
    assert len(pids) == 2
    _wait_for(lambda: not any(_is_alive(pid) for pid in pids))


def _is_alive(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


_SMALL = """
import sys, torch
from scaling_lab import Coco
from scaling_lab.data.batches import batches

for batch in batches(Coco(folder=sys.argv[1]), "val", image_size=512, batch_size=4, workers=2):
    print(batch.images_BCHW.shape[0])
"""


@pytest.mark.parametrize("options", ["size=64k", pytest.param("size=64k,ro", marks=pytest.mark.slow)])
def test_images_are_read_where_shared_memory_is_small_or_cannot_be_written(tmp_path: Path, options: str) -> None:
    """A batch of 4 images of 512 px has 3 MB."""
    from tests.coco_files import write_coco

    mounted = ["unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o {options} tmpfs /dev/shm && exec "$@"', "sh"]
    if subprocess.run([*mounted, "true"], capture_output=True).returncode:
        pytest.skip("a small shared memory is a tmpfs, which this user may not mount")
    write_coco(tmp_path / "coco", train=2, val=10)
    command = [*mounted, sys.executable, "-c", _SMALL, str(tmp_path / "coco")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (run.stdout.split(), run.returncode) == (["4", "4", "2"], 0), run.stderr


def _process_of(source: str, work: str) -> Callable[[int, np.ndarray], tuple[str, int]]:
    """Give a reader of batches of nothing, whose answers name source, work, batch and its process."""

    def read(number: int, pixels: np.ndarray) -> tuple[str, int]:
        pixels[:] = number
        return f"{source} {work} {number}", os.getpid()

    return read


def _pass(
    source: str, work: str, *, batches: int = 4, shape: tuple[int, int, int, int] = SHAPE, workers: int = 2
) -> set[int]:
    """Read one pass; give the processes that read it."""
    with kept_or_own() as own:
        read = own.read_ahead(source, _process_of, work, batches, shape=shape, workers=workers)
        answers = [(answer, int(pixels.max()), pixels.shape) for pixels, answer in read]
    assert [(name, most, there) for (name, _), most, there in answers] == [
        (f"{source} {work} {number}", number, shape) for number in range(batches)
    ]
    return {process for (_, process), _, _ in answers}


def test_kept_readers_read_one_pass_after_another_and_end_with_the_context() -> None:
    with readers_kept():
        first = _pass("images", "epoch 1")
        assert len(first) == 2
        assert _pass("images", "epoch 2", batches=7) == first
        assert _pass("images", "held out", batches=1, shape=(1, 3, 4, 3)) <= first  # fewer and smaller
        with readers_kept():
            assert _pass("images", "epoch 3") == first
        assert _children() == first
        larger = _pass("images", "epoch 4", shape=(4, 3, 4, 3))
        assert not larger & first
        assert not _pass("others", "epoch 4") & larger
        assert len(_pass("others", "epoch 5", workers=3)) == 3
        assert len(_children()) == 3
    assert not _children()
    assert len(_pass("images", "epoch 1")) == 2
    assert not _children()


def test_an_unfinished_pass_ends_kept_readers_and_the_next_starts_others() -> None:
    with readers_kept():
        first = _pass("images", "epoch 1")
        with kept_or_own() as own:
            read = own.read_ahead("images", _process_of, "epoch 2", 9, shape=SHAPE, workers=2)
            next(read)
            assert _children() == first
            assert not _pass("images", "held out", batches=2) & first  # meanwhile, by its own
            read.close()
        assert not _children()
        again = _pass("images", "epoch 3")
        os.kill(min(again), signal.SIGKILL)
        _wait_for(lambda: len(_children()) < 2)
        assert not _pass("images", "epoch 4") & again


def test_memory_of_large_batches_is_bounded() -> None:
    d7 = (128, 1536, 1536, 3)
    assert memory_size(d7, workers=15, batches=900) <= MOST_BYTES
    assert memory_size(SHAPE, workers=15, batches=900) == 31 * 72
    assert (
        memory_size((1, MOST_BYTES, 1, 3), workers=15, batches=900) == 2 * 3 * MOST_BYTES
    )  # the one in use and the next


def test_a_training_process_has_its_cores_but_one_as_readers() -> None:
    assert [readers_beside(threads) for threads in (0, 1, 2, 8, 64)] == [0, 0, 1, 7, 16]
