"""Reads the images of a set, which must be as their annotations say."""

from __future__ import annotations

import os
from pathlib import Path

from scaling_lab.data.entries import Entry
from scaling_lab.data.images import BrokenImage, Look, MissingImage, Picture, Reading, look_at_image, read_picture
from scaling_lab.errors import UserError, printable

# What a JPEG file and a PNG file end with.
_ENDS = (b"\xff\xd9", b"IEND\xaeB`\x82")
_END = max(map(len, _ENDS))


def missing_image(path: Path, entry: Entry, others: str = "") -> BrokenImage:
    """Say that an image's file is not there."""
    return MissingImage(
        f"{printable(str(path))} does not exist, but the annotations name it (image id {entry.file_id}){others}"
    )


def look_at(path: Path, entry: Entry, reading: Reading) -> Look:
    """Read an image's header. Raises as `read_image` does, as far as the header shows it."""
    try:
        look = look_at_image(path, reading, entry.size)
    except MissingImage as error:
        raise missing_image(path, entry) from error
    _check_size(path, look, entry)
    return look


def read_image(path: Path, entry: Entry, reading: Reading) -> Picture:
    """Read an image as RGB. Raises BrokenImage, and UserError where its size is not the annotations'."""
    try:
        picture = read_picture(path, reading, entry.size)
    except MissingImage as error:
        raise missing_image(path, entry) from error
    _check_size(path, picture.look, entry)
    return picture


def check_whole_image(path: Path, entry: Entry, reading: Reading) -> None:
    """Raise as `read_image` does, but look at header and end alone where the end is that of a JPEG or PNG file."""
    look_at(path, entry, reading)
    try:
        with path.open("rb") as file:
            file.seek(-min(path.stat().st_size, _END), os.SEEK_END)
            end = file.read()
    except OSError:
        end = b""
    if not end.endswith(_ENDS):
        read_image(path, entry, reading)


def _check_size(path: Path, look: Look, entry: Entry) -> None:
    if look.size == entry.size:
        return
    height, width = look.size
    how = {"kept": " as stored", "": ""}.get(look.turn, " turned as its EXIF says")
    advice = (
        "; orientation=auto takes the way that the annotations have" if look.size == entry.size[::-1] and how else ""
    )
    said = f"{entry.size[1]} x {entry.size[0]}"
    raise UserError(f"{path} is {width} x {height} pixels{how}, the annotations say {said}; they must agree{advice}")
