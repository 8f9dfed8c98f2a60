"""Files whole or not at all, on disks that fill up, through links, and for writers that leave a mess; and reading them."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

import pytest
import torch

from scaling_lab import files
from scaling_lab.errors import UserError
from scaling_lab.files import WriteError, parse_json, read_json, read_text, whole_file, whole_stream, write_whole
from tests.disks import small_disk, without_rights


def _names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_a_file_is_replaced_in_one_move(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "old")
    with whole_file(path) as made:
        assert (made.name, made.suffix) == ("a.txt", ".txt")
        made.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert _names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError("ours"), KeyboardInterrupt()])
def test_a_writer_that_fails_leaves_the_old_file_alone(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)), whole_file(path) as made:  # noqa: PT012
        made.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["a.txt"]


def test_what_is_written_beside_a_file_comes_with_it(tmp_path: Path) -> None:
    with whole_file(tmp_path / "model.onnx") as made:
        made.with_name("model.onnx.data").write_text("weights")
        made.write_text("graph")
    assert _names(tmp_path) == ["model.onnx", "model.onnx.data"]


def test_a_link_stays_a_link_and_a_pipe_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/file")
    write_whole(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "file").read_text() == "x"
    write_whole(Path(os.devnull), "x")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_whole(tmp_path / "pipe", "x")
    assert os.read(reader, 10) == b"x"
    os.close(reader)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("file/x", "Not a directory"),
        ("missing/x", "No such file or directory"),
        ("folder", "it is a folder"),
        ("loop", "Too many levels of symbolic links"),
        ("x" * 300, "File name too long"),
        ("ü" * 128, "File name too long"),
    ],
)
def test_what_cannot_be_written_is_one_line_with_the_path(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(WriteError) as caught:
        write_whole(tmp_path / name, "x")
    assert str(caught.value) == f"{tmp_path / name} cannot be written: {reason}"
    with pytest.raises(WriteError, match="cannot be written"):
        files.check_writable(tmp_path / name)
    assert _names(tmp_path) == ["file", "folder", "loop"]


def test_a_name_of_the_longest_kind_is_written(tmp_path: Path) -> None:
    write_whole(tmp_path / ("x" * 255), "x")
    assert _names(tmp_path) == ["x" * 255]


def test_a_file_that_is_protected_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("old")
    path.chmod(0o444)
    with without_rights(), pytest.raises(WriteError, match="Permission denied"):
        write_whole(path, "new")
    assert path.read_text() == "old"


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64) as disk:
        write_whole(disk / "a.txt", "old")
        with pytest.raises(WriteError, match=r"a.txt cannot be written: No space left on device") as caught:
            write_whole(disk / "a.txt", "x" * 2**20)
        assert (caught.value.number, caught.value.is_of_disk) == (errno.ENOSPC, True)
        files.append_line(disk / "lines", "one")
        with pytest.raises(WriteError, match="No space"):
            files.append_line(disk / "lines", "x" * 2**20)
        assert (disk / "lines").read_text() == "one\n"
        with pytest.raises(WriteError, match="No space"), whole_stream(disk / "a.pt") as stream:
            torch.save({"x": torch.zeros(2**18)}, stream)
        with pytest.raises(WriteError, match="No space"):
            files.copy_file(Path(torch.__file__), disk / "copy")
        assert _names(disk) == ["a.txt", "lines"]
        assert (disk / "a.txt").read_text() == "old"


def test_a_stream_takes_all_and_tells_its_first_error_at_the_end(tmp_path: Path) -> None:
    with pytest.raises(WriteError) as caught, whole_stream(tmp_path / "x") as stream:  # noqa: PT012
        stream.error = OSError(errno.ENOSPC, "full")
        assert stream.write(b"abc") == 3
        assert stream.write(memoryview(torch.zeros(2).numpy())) == 8
    assert str(caught.value) == f"{tmp_path / 'x'} cannot be written: full"
    assert _names(tmp_path) == []


def test_what_a_kill_left_is_taken_away(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a") as made:
        assert files.is_unfinished(made.parent)
        made.write_text("whole")
    (tmp_path / ".new-of-a-kill").mkdir()
    (tmp_path / ".new-of-a-kill" / "a").write_text("half")
    (tmp_path / "mine").touch()
    files.remove_unfinished(tmp_path)
    assert _names(tmp_path) == ["a", "mine"]


def test_text_that_utf8_cannot_hold_is_escaped(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "b\udcffc\n")
    assert (tmp_path / "a").read_bytes() == b"b\\udcffc\n"


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_is_read_with_and_without_a_mark(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a").write_bytes("röt\nκόκκινο\n".encode(encoding))
    assert read_text(tmp_path / "a") == "röt\nκόκκινο\n"


def test_text_of_another_encoding_is_said_with_its_byte(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("röt".encode("latin-1"))
    with pytest.raises(UserError, match=r"a is not UTF-8 \(byte 1 is 0xf6\); allowed is a text file in UTF-8"):
        read_text(tmp_path / "a")
    with pytest.raises(UserError, match="gone cannot be read: No such file or directory"):
        read_text(tmp_path / "gone")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_json(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("9" * 5000, "a number has thousands of digits"),
        ("NaN", "NaN is not a JSON number"),
        ('{"a": [-Infinity]}', "-Infinity is not a JSON number"),
        ("{", "not JSON: "),
        ("", "not JSON: "),
    ],
)
def test_json_that_is_none_is_said_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "a.json").write_text(text)
    for read in (lambda: parse_json(text), lambda: read_json(tmp_path / "a.json")):
        with pytest.raises(UserError) as caught:
            read()
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'a.json'} is not JSON")


def test_errors_of_files_are_told_from_others() -> None:
    assert files.is_of_files(OSError(errno.EROFS, "read-only"))
    assert not files.is_of_files(ConnectionRefusedError(errno.ECONNREFUSED, "refused"))
    assert not files.is_of_files(io.UnsupportedOperation("seek"))
    moved = OSError(errno.EXDEV, "elsewhere", "a", None, "b")
    assert files.said(moved) == "a to b: elsewhere"
