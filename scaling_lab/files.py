"""Writing a file whole or not at all. It reads nothing."""

from __future__ import annotations

from pathlib import Path

from scaling_lab.errors import UserError


def write_whole(path: Path, text: str) -> None:
    """Write beside the file first: a process that is killed leaves the old file or the new one."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="utf-8", newline="\n")
    beside.replace(path)


def write_or_tell(path: Path, text: str) -> None:
    """Write as `write_whole` does. Raises UserError where that is not possible."""
    try:
        write_whole(path, text)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
