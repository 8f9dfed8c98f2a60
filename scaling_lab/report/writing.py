"""From a run's folder and a report file to a page on the disk. It judges no content."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scaling_lab.errors import UserError
from scaling_lab.latencies import Latencies
from scaling_lab.report.blocks import Page
from scaling_lab.report.page import write_page
from scaling_lab.runs import Runs
from scaling_lab.starter import starter_folder
from scaling_lab.user_files import import_file, is_ours, locate

DEFAULT, OF_LATENCIES = "reports/frontier.py", "reports/latency.py"


def write_report(run_path: str | Path, report_path: str | Path | None = None, out: str | Path | None = None) -> Path:
    """Write the report of a run, or of a file of latencies, and give the page's path: <out>/<name of the report file>.html.

    `report_path` is a file with report(runs) -> Page; without one it is the study's, or reports/frontier.py, and for
    latencies reports/latency.py. `out` is <run>/report unless told, and beside x.csv x_report. Raises UserError where the
    run, the report file or the folder is at fault.
    """
    is_file = Path(run_path).suffix == ".csv"
    runs = Latencies(run_path) if is_file else Runs(run_path)
    path = Path(report_path) if report_path is not None else default_report(runs)
    report = load_report(path)
    with _naming_the_line(path):
        page = report(runs)
    if not isinstance(page, Page):
        raise UserError(f"{path}: report(…) gave {type(page).__name__}; allowed is a scaling_lab.report.Page")
    folder = runs.path.with_name(f"{runs.path.stem}_report") if isinstance(runs, Latencies) else runs.folder.report
    return write_page(page, Path(out) if out is not None else folder, path.stem)


def default_report(runs: Runs | Latencies) -> Path:
    """Find the study's report file, or reports/frontier.py: here, beside the study's folder, or in the package."""
    meta = {"report": OF_LATENCIES} if isinstance(runs, Latencies) else runs.meta
    named = Path(str(meta.get("report") or DEFAULT))
    study_file = meta.get("study_file")
    homes = [Path(), *([Path(study_file).parent.parent] if study_file else []), starter_folder()]
    for home in homes:
        if (home / named).is_file():
            return home / named
    raise UserError(
        f"the report file {named} is not there (looked in {', '.join(str(home.resolve()) for home in homes)}); name one"
    )


def load_report(path: Path) -> Callable[[Runs | Latencies], Any]:
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
