"""Atomic writing of files, and reading of files; system errors become one line with the path.

All lasting files of this package are written here. A writer fills a hidden folder `.new-…` next to the target, and its
content replaces the target in one move. A kill leaves the old file or the new one, and at most that folder, which
`remove_unfinished` removes.
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
# System errors about paths and disks. Other kinds of OSError are bugs, or network errors.
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
    """A file cannot be written. `number` is the system's error number, such as errno.ENOSPC, or None."""

    number: int | None = None

    @property
    def is_of_disk(self) -> bool:
        """Whether the disk was full, which is not the writer's fault."""
        return self.number in _NO_ROOM


def is_of_files(error: OSError) -> bool:
    """Return whether an error is about files, which a user can fix."""
    return error.errno in _OF_FILES


def said(error: OSError) -> str:
    """Return a system error as one line, with the path if known."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    if names:
        return f"{' to '.join(names)}: {_reason(error)}"
    return f"a file or the output cannot be written: {_reason(error)}" if error.errno in _NO_ROOM else _reason(error)


def cannot(path: str | Path, done: str, error: OSError) -> WriteError:
    """Return the error that a path cannot be "written", "locked", …, with the system's reason."""
    found = WriteError(f"{path} cannot be {done}: {_reason(error)}")
    found.number = error.errno
    return found


def _reason(error: OSError) -> str:
    return "a file of that name exists" if error.errno == errno.EEXIST else error.strerror or str(error)


# --- writing ---------------------------------------------------------------------------------------------------------


@contextmanager
def whole_file(path: Path, *, lasting: bool = False) -> Iterator[Path]:
    """Yield a path of the same name to write to; at the end, its content replaces `path`.

    Other files written next to it are moved too, before it. If the block raises, nothing is left. With `lasting`, the
    content is flushed to disk before the move, for results that took long. Devices and pipes are written directly.
    Raises WriteError.
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
    """Yield a stream whose content replaces `path` at the end. Raises WriteError.

    For writers that crash on a failed write, such as torch's: the stream accepts further writes, and raises at the end.
    """
    with whole_file(path, lasting=lasting) as made, _Patient(made, "wb") as stream:
        yield stream
        if stream.error is not None:
            raise stream.error


def write_whole(path: Path, text: str, *, lasting: bool = False) -> None:
    """Write text as UTF-8; undecodable bytes of file names are escaped. Raises WriteError."""
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"), lasting=lasting)


def write_bytes(path: Path, content: bytes, *, lasting: bool = False) -> None:
    """Write bytes. Raises WriteError."""
    with whole_file(path, lasting=lasting) as made:
        made.write_bytes(content)


def append_line(path: Path, line: str) -> None:
    """Append a line to a file, or leave the file unchanged. Raises WriteError."""
    append(path, f"{line}\n".encode("utf-8", errors="backslashreplace"))


def append(path: Path, content: bytes) -> None:
    """Append bytes to a file, or leave the file unchanged. Raises WriteError."""
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
    """Make a folder and its parents, if missing. Raises WriteError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot(path, "written", error) from error


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's content. Raises WriteError."""
    with whole_file(target) as made:
        shutil.copyfile(source, made)


def check_writable(path: Path) -> None:
    """Check that a file can be written, before long work. Raises WriteError."""
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
    """Remove unfinished files that a kill left in a folder; no other process may be writing there."""
    with contextlib.suppress(OSError):
        for each in folder.glob(f"{_BESIDE}*"):
            shutil.rmtree(each, ignore_errors=True)


def is_unfinished(path: Path) -> bool:
    """Return whether a name is that of an unfinished file."""
    return path.name.startswith(_BESIDE)


def _target(path: Path) -> Path | None:
    """Return the file behind a path and its links; None for a non-file, such as /dev/null."""
    target = Path(os.path.realpath(path))
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return target
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(mode):
        return None
    if not os.access(
        path, os.W_OK, effective_ids=os.access in os.supports_effective_ids
    ):  # a move would replace it anyway
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return target


def _to_disk(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


class _Patient(io.FileIO):
    """A file that stores the first error of a write and ignores later writes."""

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
    """Return a file's bytes. Raises UserError naming the file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte-order mark. Raises UserError for others."""
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
    """Return the value of a JSON file. Raises UserError naming the file."""
    text = read_text(path)
    try:
        return parse_json(text)
    except UserError as error:
        raise UserError(f"{path} is {error}") from None


def parse_json(text: str | bytes) -> Any:
    """Return the value of standard JSON, without NaN and Infinity. Raises UserError ("not JSON: …")."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise UserError("not JSON: it is nested too deeply") from None
    except ValueError as error:
        if "integer string conversion" in str(error):
            raise UserError("not JSON: a number has thousands of digits") from None
        raise UserError(f"not JSON: {error}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
