"""From a run's folder and a report file to a page on the disk. It judges no content."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import scaling_lab
from scaling_lab.errors import UserError
from scaling_lab.report.blocks import Page
from scaling_lab.report.page import write_page
from scaling_lab.runs import Runs
from scaling_lab.starter import starter_folder

DEFAULT = "reports/frontier.py"
PACKAGE = Path(scaling_lab.__file__).resolve().parent


def write_report(run_path: str | Path, report_path: str | Path | None = None, out: str | Path | None = None) -> Path:
    """Write a run's report and give the page's path: <out>/<name of the report file>.html.

    `report_path` is a file with report(runs) -> Page; without one it is the study's, or reports/frontier.py. `out` is
    <run>/report unless told. Raises UserError where the run, the report file or the folder is at fault.
    """
    runs = Runs(run_path)
    path = Path(report_path) if report_path is not None else default_report(runs)
    report = load_report(path)
    with _naming_the_line(path):
        page = report(runs)
    if not isinstance(page, Page):
        raise UserError(f"{path}: report(runs) gave {type(page).__name__}; allowed is a scaling_lab.report.Page")
    return write_page(page, Path(out) if out is not None else runs.folder.report, path.stem)


def default_report(runs: Runs) -> Path:
    """Find the study's report file, or reports/frontier.py: here, beside the study's folder, or in the package."""
    named = Path(str(runs.meta.get("report") or DEFAULT))
    study_file = runs.meta.get("study_file")
    homes = [Path(), *([Path(study_file).parent.parent] if study_file else []), starter_folder()]
    for home in homes:
        if (home / named).is_file():
            return home / named
    raise UserError(
        f"the report file {named} is not there (looked in {', '.join(str(home.resolve()) for home in homes)}); name one"
    )


def load_report(path: Path) -> Callable[[Runs], Any]:
    """Load a report file and give its function. Raises UserError that names the file and the line at fault."""
    if not path.is_file():
        raise UserError(f"the report file {path} does not exist")
    home = str(path.resolve().parent.parent)
    with _on_path(home), _naming_the_line(path):
        module = _execute(path)
    report = getattr(module, "report", None)
    if not callable(report):
        raise UserError(f"{path} has no function report(runs); it needs one that gives a Page")
    return report  # type: ignore[no-any-return]


def _execute(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"scaling_lab_report_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"the report file {path} is no Python file; its name should end in .py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def _on_path(folder: str) -> Iterator[None]:
    """Let imports find what lies beside reports/, for as long as the file loads."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


@contextmanager
def _naming_the_line(path: Path) -> Iterator[None]:
    """Turn an error of the report file into a UserError with its line; leave errors of this package as they are."""
    try:
        yield
    except UserError:
        raise
    except SyntaxError as error:
        raise UserError(f"{error.filename or path}:{error.lineno}: SyntaxError: {error.msg}") from error
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        if Path(frames[-1].filename).resolve().is_relative_to(PACKAGE):
            raise
        own = [frame for frame in frames if Path(frame.filename).resolve() == path.resolve()]
        where = f"{path}:{own[-1].lineno}" if own else str(path)
        raise UserError(f"{where}: {type(error).__name__}: {error}") from error
