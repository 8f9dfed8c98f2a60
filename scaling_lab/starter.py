"""Copies the studies, search spaces, reports and cluster files that ship with the package."""

from __future__ import annotations

import shutil
from pathlib import Path

from scaling_lab.errors import UserError
from scaling_lab.files import WriteError, copy_file, make_folder

FOLDERS = ("search_spaces", "studies", "reports")
SHIPPED = "starter_files"
CLUSTERS = "clusters"
_PACKAGE = Path(__file__).resolve().parent


def starter_folder() -> Path:
    """Return the folder of the three: within an installed package, or next to the package in a checkout."""
    shipped = _PACKAGE / SHIPPED
    return shipped if shipped.is_dir() else _PACKAGE.parent


def copy_starter(folder: Path) -> list[str]:
    """Copy the three folders' Python files, and the cluster files, into `folder`; return their paths in it.

    Raises UserError if it is not empty. Raises WriteError for a failed write, and then leaves it empty.
    """
    try:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}") from None
    if taken:
        raise UserError(f"{folder} is not empty; allowed is a new or empty folder")
    files = [file for name in FOLDERS for file in sorted((starter_folder() / name).glob("*.py"))]
    files += sorted((_PACKAGE / CLUSTERS).iterdir())
    try:
        make_folder(folder)
        for file in files:
            target = folder / file.parent.name / file.name
            make_folder(target.parent)
            copy_file(file, target)
    except WriteError:  # so that the command can be repeated
        for name in {file.parent.name for file in files}:
            shutil.rmtree(folder / name, ignore_errors=True)
        raise
    return [f"{file.parent.name}/{file.name}" for file in files]
