"""Stored runs: the ledger of a finished run, its trials as CSV and one page, in a folder of the repository.

    reports/results/<run>/ledger.sqlite             the source of every report
    reports/results/<run>/trials_<conditions>.csv   a row for each trial
    reports/results/<run>/<report>.html             all figures and tables in one offline file

`scaling-lab report reports/results/<run>` writes figures and tables as files to <run>/report, which git ignores. Weights,
checkpoints and images are not stored, so a stored run's report shows no detections.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from scaling_lab.errors import UserError
from scaling_lab.files import make_folder
from scaling_lab.paper.questions import QUESTIONS_RUNS, Asked
from scaling_lab.paper.run_conditions import csv_name
from scaling_lab.report.writing import write_report
from scaling_lab.runs.lock import only_writer
from scaling_lab.runs.reader import Runs
from scaling_lab.runs.run_status import read_status
from scaling_lab.starter import starter_folder

FOLDER = Path("reports") / "results"


def results_folder() -> Path:
    """Return the folder of stored results: in the working directory, or those shipped with the package."""
    return FOLDER if FOLDER.is_dir() else starter_folder() / FOLDER


def home_of(results: Path) -> Path:
    """Return the folder with the studies and reports of these results: their repository's, or the package's."""
    home = results.resolve().parents[1]
    return home if (home / "studies").is_dir() else starter_folder()


def has_ledger(folder: Path) -> bool:
    """Return whether a folder holds a run."""
    return (folder / "ledger.sqlite").is_file()


def is_kept(asked: Asked, results: Path) -> bool:
    """Return whether a run is stored."""
    return has_ledger(results / asked.run)


def kept_runs(results: Path, asked: Sequence[Asked]) -> dict[str, Runs]:
    """Open the stored runs that a question and its reports need, by name."""
    names = dict.fromkeys([*(each.run for each in asked), *(each.beside for each in asked if each.beside)])
    return {name: Runs(results / name) for name in names if has_ledger(results / name)}


def stored(results: Path) -> list[Asked]:
    """List the stored runs: the questions' first, then others by name."""
    others = (asked_of(path.parent.name, results) for path in sorted(results.glob("*/ledger.sqlite")))
    questions = [asked for asked in QUESTIONS_RUNS if is_kept(asked, results)]
    return list(dict.fromkeys([*questions, *(asked for asked in others if asked is not None)]))


def asked_of(name: str, *folders: Path) -> Asked | None:
    """Return the run of that name: a question's, or one named by `scaling-lab run` in these folders; or None."""
    for asked in QUESTIONS_RUNS:
        if asked.run == name:
            return asked
    for folder in folders:
        if has_ledger(folder / name):
            meta = Runs(folder / name).meta
            asked = Asked(study=str(meta.get("study")), form=str(meta.get("form") or ""))
            if asked.run == name:
                return asked
    return None


def why_unfinished(run: Path) -> str:
    """Return why a run cannot be stored yet; "" if it has ended."""
    status = read_status(run)
    ended = sum(status["states"][state] for state in ("complete", "stopped", "failed"))
    if status["driver"]:
        return "it is running"
    if not status["trials"]:
        return "it has no trials"
    if ended < status["trials"]:
        return f"{status['trials'] - ended} of its {status['trials']} trials have not ended"
    return ""


def keep(run: Path, asked: Asked, results: Path) -> Path:
    """Store a finished run under its name and return the folder; a stored run is replaced once all is written.

    `run` may be the stored run itself, whose CSV and page are then updated. Raises UserError if it is unfinished, belongs to
    another study, or needs a run for its report that is not stored.
    """
    _check_can_be_kept(run, asked, results)
    make_folder(results)
    with only_writer(results / ".keep.lock", what=results, option="--results"):
        beside = results / ".new"
        _bring_back(beside / "old", results)
        try:
            return _replaced(run, asked, results, beside)
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"{results / asked.run} cannot be written: {error}") from None
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _replaced(run: Path, asked: Asked, results: Path, beside: Path) -> Path:
    """Write a stored run beside the existing one and then replace that."""
    folder, made, old = results / asked.run, beside / asked.run, beside / "old"
    shutil.rmtree(beside, ignore_errors=True)
    old.mkdir(parents=True)
    made.mkdir()
    copy = shutil.copyfile if run.resolve() == folder.resolve() else _copy_ledger  # a stored ledger stays byte for byte
    copy(run / "ledger.sqlite", made / "ledger.sqlite")
    Runs(made).table().to_csv(made / csv_name(Runs(made)), index=False, lineterminator="\n")
    write_report(report_runs(made, asked, results), report_file(made, asked, results), made, compact=True)
    if folder.exists():
        folder.rename(old / folder.name)
    made.rename(folder)
    return folder


def _bring_back(old: Path, results: Path) -> None:
    """Restore a run after an interrupted replacement."""
    for each in old.iterdir() if old.is_dir() else ():
        if not (results / each.name).exists():
            each.rename(results / each.name)


def _check_can_be_kept(run: Path, asked: Asked, results: Path) -> None:
    meta = Runs(run).meta
    if (meta.get("study"), meta.get("form") or "") != (asked.study, asked.form):
        form = f", form {meta['form']}" if meta.get("form") else ""
        raise UserError(f"{run} is of the study {meta.get('study')}{form}, so it cannot be stored as {asked.run}")
    if why := why_unfinished(run):
        raise UserError(f"{run} cannot be stored: {why}; `{asked.command}` continues it")
    if asked.beside and not has_ledger(results / asked.beside):
        raise UserError(
            f"{run} cannot be stored before {asked.beside}, which its report needs: {results} does not hold it"
        )


def report_runs(run: Path, asked: Asked, results: Path) -> list[Path]:
    """Return the folders that a stored run's report takes: its own, and that of the run compared with it."""
    return [run, *([results / asked.beside] if asked.beside else [])]


def report_file(run: Path, asked: Asked, results: Path) -> Path:
    """Return the report file of a stored run: the question's, or the study's own."""
    return home_of(results) / (asked.report or str(Runs(run).meta["report"]))


def _copy_ledger(source: Path, target: Path) -> None:
    """Copy a database as one file without free pages."""
    with contextlib.closing(sqlite3.connect(source)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))
