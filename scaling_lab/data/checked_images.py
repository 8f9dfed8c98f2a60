"""Reads the images of a data set and checks them against their annotations."""

from __future__ import annotations

import os
from pathlib import Path

from scaling_lab.data.entries import Entry
from scaling_lab.data.images import BrokenImage, Look, MissingImage, Picture, Reading, look_at_image, read_picture
from scaling_lab.errors import UserError, printable

# The last bytes of JPEG and PNG files.
_ENDS = (b"\xff\xd9", b"IEND\xaeB`\x82")
_END = max(map(len, _ENDS))


def missing_image(path: Path, entry: Entry, others: str = "") -> BrokenImage:
    """Return the error for a missing image file."""
    return MissingImage(
        f"{printable(str(path))} does not exist, but is in the annotations (image id {entry.file_id}){others}"
    )


def look_at(path: Path, entry: Entry, reading: Reading) -> Look:
    """Read an image's header. Raises the errors of `read_image` that the header shows."""
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
    """Raise the errors of `read_image`; JPEG and PNG files with a proper end are checked by header only."""
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
    how = {"kept": " as stored", "": ""}.get(look.turn, " after rotation by its EXIF tag")
    advice = "; orientation=auto follows the annotations" if look.size == entry.size[::-1] and how else ""
    said = f"{entry.size[1]} x {entry.size[0]}"
    raise UserError(
        f"{path} is {width} x {height} pixels{how}, but the annotations give {said}; allowed are equal sizes{advice}"
    )
