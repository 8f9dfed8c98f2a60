"""Writes a page from the folders of runs and a report file."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scaling_lab.errors import UserError
from scaling_lab.report.analysis.comparability import distinct_names
from scaling_lab.report.page.blocks import Page
from scaling_lab.report.page.writer import write_page
from scaling_lab.runs.latencies import Latencies
from scaling_lab.runs.reader import Runs
from scaling_lab.starter import starter_folder
from scaling_lab.user_files import import_file, is_ours, locate

DEFAULT, OF_LATENCIES, OF_SEVERAL = "reports/frontier.py", "reports/latency.py", "reports/comparison.py"
MOST_LETTERS = 100  # in a folder's name


def write_report(
    run_paths: str | Path | Sequence[str | Path],
    report_path: str | Path | None = None,
    out: str | Path | None = None,
    *,
    compact: bool = False,
) -> Path:
    """Write the report of one or several runs and return the page's path, <out>/<name of the report file>.html.

    `report_path` is a file with report(runs) -> Page, or report(*runs) for several runs. By default it is the study's or
    reports/frontier.py, reports/latency.py for latencies, and reports/comparison.py for several runs. `out` is by default
    <run>/report, x_report beside x.csv, and comparison_<name>_<name> beside the first of several runs. A `compact` page is
    one file, without the explorer. Raises UserError for errors in a run, the report file or the folder.
    """
    paths = [Path(run_paths)] if isinstance(run_paths, (str, Path)) else [Path(path) for path in run_paths]
    runs = read_runs(paths)
    path = Path(report_path) if report_path is not None else default_report(*runs)
    page = make_page(runs, path)
    return write_page(page, Path(out) if out is not None else _folder(runs), path.stem, compact=compact)


def make_page(runs: Sequence[Runs | Latencies], path: Path) -> Page:
    """Call a report file's function. Raises UserError for an error in the file, or if it is not for these runs."""
    report = load_report(path, takes=len(runs))
    _check_is_for(report, runs[0], path)
    with _naming_the_line(path):
        page = report(*runs)
    if not isinstance(page, Page):
        raise UserError(f"{path}: report(…) returned {type(page).__name__}; allowed is a scaling_lab.report.Page")
    return page


def read_runs(paths: Sequence[Path]) -> list[Runs | Latencies]:
    """Open runs, or one file of latencies. Raises UserError for none, duplicates, or latencies among several."""
    if not paths:
        raise UserError("there is no run to report on; name a run's folder")
    seen: dict[Path, Path] = {}
    for path in paths:
        if path.suffix == ".csv" and len(paths) > 1:
            raise UserError(f"{path} is a file of latencies; allowed is this file alone, or run folders")
        if path.resolve() in seen:
            twice = f" (as {seen[path.resolve()]} and {path})" if seen[path.resolve()] != path else ""
            raise UserError(f"the run {path} is named twice{twice}; allowed are different runs")
        seen[path.resolve()] = path
    for path in paths:
        if path.is_file() and path.suffix != ".csv":
            raise UserError(f"{path} is neither a run's folder nor a .csv file of latencies")
    return [Latencies(path) if path.suffix == ".csv" else Runs(path) for path in paths]


def default_report(*runs: Runs | Latencies) -> Path:
    """Return the default report file of a run, of several runs, or of latencies.

    It is searched in the working directory, beside the study's folder, and in the package.
    """
    meta = {"report": OF_LATENCIES} if isinstance(runs[0], Latencies) else runs[0].meta
    named = Path(OF_SEVERAL if len(runs) > 1 else str(meta.get("report") or DEFAULT))
    study_file = meta.get("study_file")
    homes = [Path(), *([Path(study_file).parent.parent] if study_file else []), starter_folder()]
    for home in homes:
        if (home / named).is_file():
            return home / named
    raise UserError(
        f"the report file {named} does not exist (searched in {', '.join(str(home.resolve()) for home in homes)}); name one"
    )


def load_report(path: Path, *, takes: int = 1) -> Callable[..., Any]:
    """Load a report file and return its function, which must accept `takes` runs.

    Raises UserError with the file and the line of an error.
    """
    if not path.is_file():
        raise UserError(f"the report file {path} does not exist")
    with _naming_the_line(path):
        module = import_file(path)
    report = getattr(module, "report", None)
    if not callable(report):
        raise UserError(f"{path} has no function report(runs) that returns a Page")
    _check_takes(report, takes, path)
    return report  # type: ignore[no-any-return]


def _check_is_for(report: Callable[..., Any], first: Runs | Latencies, path: Path) -> None:
    """Raise UserError for a report on latencies given a run, or the other way round."""
    said = next((each.annotation for each in inspect.signature(report).parameters.values()), None)
    measured = isinstance(first, Latencies)
    if said in ("Latencies", Latencies) and not measured:
        raise UserError(f"{path} is for a file that `scaling-lab measure --out FILE.csv` wrote; {first.path} is a run")
    if said in ("Runs", Runs) and measured:
        raise UserError(f"{path} is for runs; {first.path} is a file of latencies, which {OF_LATENCIES} is for")


def _check_takes(report: Callable[..., Any], count: int, path: Path) -> None:
    parameters = inspect.signature(report).parameters.values()
    named = [each for each in parameters if each.kind == each.KEYWORD_ONLY and each.default is each.empty]
    if named:
        raise UserError(
            f"{path}: report(…) needs {named[0].name}=…; allowed are only runs and parameters with a default"
        )
    placed = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    least, most = sum(each.default is each.empty for each in placed), len(placed)
    takes_any = any(each.kind == each.VAR_POSITIONAL for each in parameters)
    if least <= count and (takes_any or count <= most):
        return
    number = f"{least} or more" if takes_any else f"{least} to {most}" if least < most else str(most)
    found = f"{path} takes {number} {'run' if number == '1' else 'runs'}, not {count}"
    names = ", ".join(f"*{each.name}" if each.kind == each.VAR_POSITIONAL else each.name for each in parameters)
    hint = (
        f"allowed for several is report(*runs), as in {OF_SEVERAL}" if count > 1 else "allowed for one is report(runs)"
    )
    raise UserError(f"{found}: its function is report({names}); {hint}")


def _folder(runs: Sequence[Runs | Latencies]) -> Path:
    """Return the default folder of a page; long names of several runs are cut and get a digest."""
    first = runs[0]
    if isinstance(first, Latencies):
        return first.path.with_name(f"{first.path.stem}_report")
    if len(runs) == 1:
        return first.folder.report
    name = "_".join(["comparison", *(each.replace("/", "-") for each in distinct_names([each.path for each in runs]))])
    if len(name) > MOST_LETTERS:
        digest = hashlib.sha256(name.encode()).hexdigest()[:6]
        name = f"{name[: MOST_LETTERS - 7]}_{digest}"
    return first.path.parent / name if first.path.name not in ("", "..") else first.path.resolve().parent / name


@contextmanager
def _naming_the_line(path: Path) -> Iterator[None]:
    """Turn an error in the report file into a UserError with its line; errors of this package pass."""
    try:
        yield
    except Exception as error:
        if is_ours(error):
            raise
        raise UserError(locate(error, otherwise=path)) from error
