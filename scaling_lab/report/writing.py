"""From a run's folder and a report file to a page on the disk. It judges no content."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scaling_lab.errors import UserError
from scaling_lab.report.blocks import Page
from scaling_lab.report.page import write_page
from scaling_lab.runs import Runs
from scaling_lab.starter import starter_folder
from scaling_lab.user_files import import_file, is_ours, locate

DEFAULT = "reports/frontier.py"


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
    with _naming_the_line(path):
        module = import_file(path)
    report = getattr(module, "report", None)
    if not callable(report):
        raise UserError(f"{path} has no function report(runs); it needs one that gives a Page")
    return report  # type: ignore[no-any-return]


@contextmanager
def _naming_the_line(path: Path) -> Iterator[None]:
    """Turn an error of the report file into a UserError with its line; leave errors of this package as they are."""
    try:
        yield
    except Exception as error:
        if is_ours(error):
            raise
        raise UserError(locate(error, otherwise=path)) from error
