"""Reads single files of a set: bytes, and images as RGB. What cannot be read is one line with the file's name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from scaling_lab.data.entries import Entry
from scaling_lab.data.image_files import shown
from scaling_lab.errors import UserError

if TYPE_CHECKING:
    from PIL import Image


# What a JPEG file and a PNG file end with.
_ENDS = (b"\xff\xd9", b"IEND\xaeB`\x82")
_END = max(map(len, _ENDS))


class BrokenImage(UserError):
    """An image file is missing, truncated or no image: what `skip_broken` skips."""


def read_bytes(path: Path) -> bytes:
    """Read a whole file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def missing_image(path: Path, entry: Entry, others: str = "") -> BrokenImage:
    """Say that an image's file is not there."""
    return BrokenImage(
        f"{shown(str(path))} does not exist, but the annotations name it (image id {entry.file_id}){others}"
    )


def check_whole_image(path: Path, entry: Entry) -> None:
    """Raise as `read_image` does, but look at an image's end alone where it is the end of a JPEG or PNG file."""
    try:
        with path.open("rb") as file:
            file.seek(-min(path.stat().st_size, _END), os.SEEK_END)
            end = file.read()
    except OSError:
        end = b""
    if not end.endswith(_ENDS):
        read_image(path, entry)


def read_image(path: Path, entry: Entry) -> Image.Image:
    """Read an image as RGB. Raises BrokenImage, and UserError where its size is not the annotations'."""
    from PIL import Image

    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except FileNotFoundError as error:
        raise missing_image(path, entry) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BrokenImage(f"{path} cannot be read as an image: {error}; allowed is a whole JPEG or PNG file") from error
    if (image.height, image.width) != entry.size:
        said = f"{entry.size[1]} x {entry.size[0]}"
        raise UserError(f"{path} is {image.width} x {image.height} pixels, the annotations say {said}; they must agree")
    return image
