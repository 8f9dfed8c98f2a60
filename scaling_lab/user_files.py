"""Users' Python files (studies, reports): importing one by path, and locating errors in it."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from scaling_lab.errors import UserError
from scaling_lab.files import is_of_files
from scaling_lab.starter import FOLDERS, SHIPPED

_PACKAGE = str(Path(__file__).parent) + os.sep
_STDLIB = sysconfig.get_path("stdlib") + os.sep


def import_file(path: Path) -> ModuleType:
    """Import a file by its path; files next to its folder can be imported while it loads.

    So `from search_spaces.topology import space` works in studies/mine.py from any working directory. Raises the file's
    own errors; `locate` gives their line.
    """
    spec = importlib.util.spec_from_file_location(f"_user_file_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file; allowed is a name that ends in .py")
    module = importlib.util.module_from_spec(spec)
    with _imports_from(path.resolve().parent.parent):
        spec.loader.exec_module(module)
    return module


def locate(error: BaseException, *, otherwise: Path | None = None) -> str:
    """Return "file:line: message", with the last line in a user's file."""
    if isinstance(error, SyntaxError):
        return f"{_short(error.filename or str(otherwise))}:{error.lineno}: {type(error).__name__}: {error.msg}"
    if isinstance(error, OSError) and is_of_files(error) and error.filename == str(otherwise):
        return f"{_short(str(otherwise))} cannot be read: {error.strerror}"
    message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {_first_line(error)}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    if frames:
        return f"{_short(frames[-1].filename)}:{frames[-1].lineno}: {message}"
    return f"{_short(str(otherwise))}: {message}" if otherwise else message


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")


def is_ours(error: BaseException) -> bool:
    """Return whether an error was raised in this package: a bug, or one of our messages."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.startswith(_PACKAGE) and not _is_users(frames[-1].filename)


def _is_users(filename: str) -> bool:
    if filename.startswith(_PACKAGE):
        return filename.startswith(_PACKAGE + SHIPPED + os.sep)
    return not filename.startswith((_STDLIB, "<")) and "site-packages" not in filename


def _short(filename: str) -> str:
    """Return a file's path, relative to the working directory if within it."""
    try:
        return str(Path(filename).resolve().relative_to(Path.cwd()))
    except ValueError:
        return filename


@contextmanager
def _imports_from(root: Path) -> Iterator[None]:
    """Put a folder first on sys.path, and drop modules of an earlier folder."""
    for name in [name for name in sys.modules if name.partition(".")[0] in FOLDERS]:
        del sys.modules[name]
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(root))
