"""--names of `predict`: names of classes as a list with commas, or in a file with one in each line."""

from __future__ import annotations

import os
import re
from pathlib import Path

from scaling_lab.checks import shown
from scaling_lab.errors import UserError
from scaling_lab.files import read_text

_ENDINGS = (".csv", ".lst", ".names", ".tsv", ".txt")  # what has one of these and no comma is meant as a file


def read_names(text: str, num_classes: int) -> list[str]:
    """Read a file of that name where there is one, else a list. Raises UserError that says which of both it was taken for."""
    path = Path(text)
    # os.path, unlike Path, says of a text too long for a name that there is no such file.
    if os.path.isdir(text):
        raise UserError(f"--names {text} is a folder; allowed are names with commas, or a file with one in each line")
    if os.path.exists(text):
        lines, what = re.split(r"\r\n|\r|\n", read_text(path)), f"the file {text}"
    elif "," not in text and path.suffix.lower() in _ENDINGS:
        raise UserError(f"--names {text}: there is no such file; allowed are names with commas, or a file's path")
    else:
        lines, what = text.split(","), f"the list {shown(text)}"
    names = [line.strip() for line in lines if line.strip()]
    if len(names) != num_classes:
        found = f"{len(names)} name{'' if len(names) == 1 else 's'}"
        more = " (there is no file of that name)" if not os.path.exists(text) and len(names) == 1 else ""
        raise UserError(f"--names: {what} has {found}{more}; the detector has {num_classes} classes")
    return names
