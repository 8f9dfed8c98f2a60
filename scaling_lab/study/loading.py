"""Study files: finding, importing and naming them, and saying where in them an error lies. It runs no study."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.errors import UserError
from scaling_lab.study.study import Space, Study

if TYPE_CHECKING:
    from scaling_lab.data import Source

_PACKAGE = str(Path(__file__).parents[1]) + os.sep
_STDLIB = sysconfig.get_path("stdlib") + os.sep


@dataclass(frozen=True, kw_only=True)
class StudyFile:
    """A study with the file that it comes from."""

    study: Study
    name: str
    path: Path
    source: str


def load_study(path: str | Path) -> StudyFile:
    """Import a study file. Raises UserError with file and line for whatever is wrong in it.

    The folder that holds the file's folder can be imported from while it loads, so that `from search_spaces.topology
    import space` works wherever the program is started.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no study file {path}{_others(path)}")
    try:
        source = path.read_text(encoding="utf-8")
        with _imports_from(path.resolve().parent.parent):
            module = _import_file(path)
    except Exception as error:
        raise UserError(locate(error, otherwise=path)) from None
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        what = "has no STUDY" if study is None else f"has a STUDY that is a {type(study).__name__}"
        raise UserError(f"{path} {what}; a study file ends with STUDY = Study(question=..., space=..., ...)")
    return StudyFile(study=study, name=path.stem, path=path, source=source)


def data_source(words: str, study: Study) -> Source:
    """Read a data source from words: "shapes", or "coco:DIR". Shapes keep the study's own settings where it has any."""
    from scaling_lab.data import parse_source

    source = parse_source(words)
    return study.data if source.kind == study.data.kind == "shapes" else source


def call_space(space: Space, trial: Any) -> DetectorSpec:
    """Ask a space for a spec. Raises UserError with file and line where it fails; optuna.TrialPruned passes."""
    import optuna

    try:
        spec = space(trial)
    except optuna.TrialPruned:
        raise
    except Exception as error:
        params = ", ".join(f"{name}={value!r}" for name, value in getattr(trial, "params", {}).items())
        message = locate(error, otherwise=Path(space.__code__.co_filename) if hasattr(space, "__code__") else None)
        raise UserError(f"{message} (in the search space{', at ' + params if params else ''})") from None
    if not isinstance(spec, DetectorSpec):
        name = getattr(space, "__qualname__", space)
        raise UserError(f"the search space {name} gave a {type(spec).__name__}; it must give a DetectorSpec")
    return spec


def locate(error: BaseException, *, otherwise: Path | None = None) -> str:
    """Say "file:line: what is wrong", with the last line that is the user's and not ours or a library's."""
    if isinstance(error, SyntaxError):
        return f"{_short(error.filename or str(otherwise))}:{error.lineno}: {type(error).__name__}: {error.msg}"
    message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    if frames:
        return f"{_short(frames[-1].filename)}:{frames[-1].lineno}: {message}"
    return f"{_short(str(otherwise))}: {message}" if otherwise else message


def _is_users(filename: str) -> bool:
    if filename.startswith(_PACKAGE):
        return filename.startswith(_PACKAGE + "starter" + os.sep)
    return not filename.startswith((_STDLIB, "<")) and "site-packages" not in filename


def _short(filename: str) -> str:
    """Name a file as seen from the working directory, where it lies in it."""
    try:
        return str(Path(filename).resolve().relative_to(Path.cwd()))
    except ValueError:
        return filename


def _import_file(path: Path) -> Any:
    name = f"_study_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file; a study file ends in .py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def _imports_from(root: Path) -> Iterator[None]:
    """Put a folder first on sys.path; forget the modules of an earlier folder."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("search_spaces", "studies", "reports")]:
        del sys.modules[name]
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(root))


def _others(path: Path) -> str:
    folder = path.parent if path.parent.is_dir() else Path("studies")
    found = sorted(str(file) for file in folder.glob("*.py"))
    return f"; there are {', '.join(found)}" if found else ""
