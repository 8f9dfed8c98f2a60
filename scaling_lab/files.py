"""Files that are written whole or not at all, and files that are read: what the system refuses is one line with the path.

Everything in this package that writes a file for good goes through here. A writer fills a hidden folder `.new-…` beside the
target, and its content takes the target's place in one move. A kill leaves the old file or the new one, and at most that
folder, which `remove_unfinished` takes away.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scaling_lab.errors import UserError

_BESIDE = ".new-"
# What the system says of paths and disks. Other errors that Python files under OSError are our own mistakes, or a network's.
_OF_FILES = frozenset(
    getattr(errno, name)
    for name in (
        *("EACCES", "EBUSY", "EDQUOT", "EEXIST", "EFBIG", "EINVAL", "EIO", "EISDIR", "ELOOP", "EMFILE", "ENAMETOOLONG"),
        *(
            "ENFILE",
            "ENODEV",
            "ENOENT",
            "ENOLCK",
            "ENOMEM",
            "ENOSPC",
            "ENOTDIR",
            "ENOTEMPTY",
            "ENXIO",
            "EPERM",
            "EROFS",
        ),
        *("ESTALE", "ETXTBSY", "EXDEV"),
    )
)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class WriteError(UserError):
    """A file that cannot be written. `number` is the system's, such as errno.ENOSPC; None where it gave none."""

    number: int | None = None

    @property
    def is_of_disk(self) -> bool:
        """Whether there was no room, which is no fault of what was to be written."""
        return self.number in _NO_ROOM


def is_of_files(error: OSError) -> bool:
    """Whether an error is one of files, which a user can mend."""
    return error.errno in _OF_FILES


def said(error: OSError) -> str:
    """Say an error of the system in a line, with the path where it is known."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    if names:
        return f"{' to '.join(names)}: {_reason(error)}"
    return f"a file or the output cannot be written: {_reason(error)}" if error.errno in _NO_ROOM else _reason(error)


def cannot(path: str | Path, done: str, error: OSError) -> WriteError:
    """Give the error to raise where a path cannot be "written", "locked", … for what the system said."""
    found = WriteError(f"{path} cannot be {done}: {_reason(error)}")
    found.number = error.errno
    return found


def _reason(error: OSError) -> str:
    return "there is a file of that name" if error.errno == errno.EEXIST else error.strerror or str(error)


# --- writing ---------------------------------------------------------------------------------------------------------


@contextmanager
def whole_file(path: Path, *, lasting: bool = False) -> Iterator[Path]:
    """Give a path of the same name to write to; at the end what stands there takes the place of `path`.

    Other files that were written beside it move too, before it. Where the block raises, nothing is left. With `lasting` the
    content is on the disk before the move: for what took long. A device or a pipe is written to as it is. Raises WriteError.
    """
    try:
        target = _target(path)
        if target is None:
            yield path
            return
        with tempfile.TemporaryDirectory(prefix=_BESIDE, dir=target.parent) as folder:
            made = Path(folder, target.name)
            yield made
            for each in sorted(Path(folder).iterdir(), key=lambda file: file == made):
                if lasting:
                    _to_disk(each)
                each.replace(target.parent / each.name)
    except OSError as error:
        raise cannot(path, "written", error) from error


@contextmanager
def whole_stream(path: Path, *, lasting: bool = False) -> Iterator[io.FileIO]:
    """Give a stream whose content takes the place of `path` at the end. Raises WriteError.

    For writers that break down where a write fails, as torch's do: the stream takes all the same, and the error comes after.
    """
    with whole_file(path, lasting=lasting) as made, _Patient(made, "wb") as stream:
        yield stream
        if stream.error is not None:
            raise stream.error


def write_whole(path: Path, text: str, *, lasting: bool = False) -> None:
    """Write text as UTF-8; what that cannot hold, such as a file name's odd bytes, is escaped. Raises WriteError."""
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"), lasting=lasting)


def write_bytes(path: Path, content: bytes, *, lasting: bool = False) -> None:
    """Write bytes. Raises WriteError."""
    with whole_file(path, lasting=lasting) as made:
        made.write_bytes(content)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, or leave the file as it was. Raises WriteError."""
    append(path, f"{line}\n".encode("utf-8", errors="backslashreplace"))


def append(path: Path, content: bytes) -> None:
    """Add bytes to a file, or leave the file as it was. Raises WriteError."""
    try:
        with path.open("ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            try:
                while content:
                    content = content[file.write(content) :]
            except OSError:
                file.truncate(before)
                raise
    except OSError as error:
        raise cannot(path, "written", error) from error


def make_folder(path: Path) -> None:
    """Make a folder with those above it, where it is not there. Raises WriteError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot(path, "written", error) from error


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's content. Raises WriteError."""
    with whole_file(target) as made:
        shutil.copyfile(source, made)


def check_writable(path: Path) -> None:
    """Refuse a file that cannot be written, before long work for it. Raises WriteError; UserError where its folder is missing."""
    try:
        if path.is_dir():
            raise cannot(path, "written", IsADirectoryError(errno.EISDIR, "it is a folder"))
        if not path.parent.is_dir():
            raise cannot(path, "written", FileNotFoundError(errno.ENOENT, f"there is no folder {path.parent}"))
        target = _target(path)
        if target is not None:
            with tempfile.TemporaryDirectory(prefix=_BESIDE, dir=target.parent) as folder:
                Path(folder, target.name).touch()
    except OSError as error:
        raise cannot(path, "written", error) from error


def remove_unfinished(folder: Path) -> None:
    """Take away what a kill left of files that were being written; for a folder that nobody else writes now."""
    with contextlib.suppress(OSError):
        for each in folder.glob(f"{_BESIDE}*"):
            shutil.rmtree(each, ignore_errors=True)


def is_unfinished(path: Path) -> bool:
    """Whether a name in a folder is that of something that is being written, or was when its writer was killed."""
    return path.name.startswith(_BESIDE)


def _target(path: Path) -> Path | None:
    """Give the file that a path leads to, through links; None for what is no file, such as /dev/null."""
    target = Path(os.path.realpath(path))
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return target
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(mode):
        return None
    if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):  # a move would replace it
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return target


def _to_disk(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


class _Patient(io.FileIO):
    """A file that keeps the first error of a write, and takes all that comes after it."""

    error: OSError | None = None

    def write(self, content: Any) -> int:
        left = memoryview(content).cast("B")
        size = left.nbytes
        while left and self.error is None:
            try:
                left = left[super().write(left) :]
            except OSError as error:
                self.error = error
        return size


# --- reading ---------------------------------------------------------------------------------------------------------


def read_bytes(path: Path) -> bytes:
    """Read a whole file. Raises UserError that names it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def read_text(path: Path) -> str:
    """Read a file of UTF-8, with or without a byte-order mark, or of UTF-16 with one. Raises UserError for another."""
    content = read_bytes(path)
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        byte = content[error.start : error.start + 1]
        raise UserError(
            f"{path} is not UTF-8 (byte {error.start} is 0x{byte.hex()}); allowed is a text file in UTF-8"
        ) from None


def read_json(path: Path) -> Any:
    """Read a file of JSON. Raises UserError that names it."""
    text = read_text(path)
    try:
        return parse_json(text)
    except UserError as error:
        raise UserError(f"{path} is {error}") from None


def parse_json(text: str | bytes) -> Any:
    """Read JSON as the standard has it, without NaN and Infinity. Raises UserError ("not JSON: …")."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise UserError("not JSON that can be read: it is nested too deep") from None
    except ValueError as error:
        if "integer string conversion" in str(error):
            raise UserError("not JSON that can be read: a number has thousands of digits") from None
        raise UserError(f"not JSON: {error}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
