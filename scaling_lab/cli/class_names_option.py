"""--names of `predict`: class names, comma-separated or in a file with one a line."""

from __future__ import annotations

import os
import re
from pathlib import Path

from scaling_lab.checks import shown
from scaling_lab.errors import UserError
from scaling_lab.files import read_text

_ENDINGS = (".csv", ".lst", ".names", ".tsv", ".txt")  # text with one of these endings and no comma is taken for a file


def read_names(text: str, num_classes: int) -> list[str]:
    """Read class names from the file of that name if it exists, else from a comma-separated list. Raises UserError."""
    path = Path(text)
    # os.path, unlike Path, returns False for a text that is too long for a file name.
    if os.path.isdir(text):
        raise UserError(f"--names {text} is a folder; allowed are comma-separated names, or a file with one a line")
    if os.path.exists(text):
        lines, what = re.split(r"\r\n|\r|\n", read_text(path)), f"the file {text}"
    elif "," not in text and path.suffix.lower() in _ENDINGS:
        raise UserError(f"--names {text}: no such file; allowed are comma-separated names, or a file with one a line")
    else:
        lines, what = text.split(","), f"the list {shown(text)}"
    names = [line.strip() for line in lines if line.strip()]
    if len(names) != num_classes:
        found = f"{len(names)} name{'' if len(names) == 1 else 's'}"
        more = " (no such file)" if not os.path.exists(text) and len(names) == 1 else ""
        raise UserError(f"--names: {what} has {found}{more}; the detector has {num_classes} classes")
    return names
