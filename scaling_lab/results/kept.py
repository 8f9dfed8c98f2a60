"""Runs that are kept in the repository: their ledger, its table as a CSV, and a compact report. Nothing is trained or judged.

    reports/results/<run>/ledger.sqlite                      what any report can be made from again
    reports/results/<run>/trials_<conditions>.csv            a row for each trial
    reports/results/<run>/report/<report>.html, figures/, tables/

Weights, checkpoints and pictures stay behind, so a kept run's report shows no detections.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd

from scaling_lab.errors import UserError
from scaling_lab.report.writing import write_report
from scaling_lab.reproduction.questions import Asked
from scaling_lab.runs import Runs
from scaling_lab.starter import starter_folder

FOLDER = Path("reports") / "results"
UNENDED = ("planned", "running")


def results_folder() -> Path:
    """Give the folder of kept results: here, or those that ship with the package."""
    return FOLDER if FOLDER.is_dir() else starter_folder() / FOLDER


def kept_runs(results: Path, asked: tuple[Asked, ...]) -> dict[str, Runs]:
    """Open the kept ones of the runs that a question needs, by name, those beside which reports set others included."""
    names = dict.fromkeys([*(each.run for each in asked), *(each.beside for each in asked if each.beside)])
    return {name: Runs(results / name) for name in names if (results / name / "ledger.sqlite").is_file()}


def keep(run: Path, asked: Asked, results: Path) -> Path:
    """Keep a finished run under its name, in place of what was kept of it; give the folder.

    Raises UserError where it is not finished, or where its report needs a run that is not kept.
    """
    table = Runs(run).table()
    unended = int(table["state"].isin(UNENDED).sum())
    if table.empty or unended:
        what = f"{unended} of its {len(table)} trials have not ended" if len(table) else "it has no trials"
        raise UserError(f"{run} cannot be kept: {what}; `{asked.command}` goes on with it")
    if asked.beside and not (results / asked.beside / "ledger.sqlite").is_file():
        raise UserError(
            f"{run} cannot be kept before {asked.beside}, which its report needs: {results} does not hold it"
        )
    folder = results / asked.run
    beside = results / f"{asked.run}.new"
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        _copy_ledger(run / "ledger.sqlite", beside / "ledger.sqlite")
        table.to_csv(beside / csv_name(Runs(beside)), index=False, lineterminator="\n")
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be written: {error.strerror}") from None
    write_kept_report(asked, results, folder / "report")
    return folder


def write_kept_report(asked: Asked, results: Path, out: Path) -> Path:
    """Make the compact report of a kept run."""
    paths = [results / asked.run, *([results / asked.beside] if asked.beside else [])]
    report = starter_folder() / asked.report if asked.report else None
    return write_report(paths, report, out, compact=True)


def csv_name(runs: Runs) -> str:
    """Name a table by its conditions: "trials_shapes_128px_8_epochs_5_seeds_cpu.csv"."""
    known = conditions(runs)
    parts = [
        known["data"],
        f"{known['sizes']}px",
        f"{known['epochs']}_epochs",
        f"{known['seeds']}_seeds",
        known["device"],
    ]
    words = "_".join(str(part) for part in parts).replace(" to ", "-")
    return f"trials_{re.sub('[^A-Za-z0-9-]+', '_', words).lower()}.csv"


def conditions(runs: Runs) -> dict[str, Any]:
    """Give what a run's numbers hold for: data, images, sizes (of an image, in pixels), epochs, seeds, trials, device."""
    table, meta = runs.table(), runs.meta
    complete = table[(table["state"] == "complete") & (table["role"] == "search")]
    specs = runs.specs()
    sizes = sorted({max(specs[str(digest)].image_size) for digest in table["architecture"].unique()})
    repeats = complete.groupby("architecture")["seed"].nunique()
    return {
        "data": str((meta.get("data") or {}).get("kind", "data")),
        "images": (meta.get("data") or {}).get("train_images"),
        "sizes": _span(sizes),
        "epochs": _span(sorted(set(complete["epochs"].astype(int)))),
        "seeds": _span(sorted(set(repeats.astype(int)))),
        "trials": int((table["state"] == "complete").sum()),
        "device": _devices(table),
    }


def _span(values: list[int]) -> str:
    return "none" if not values else str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _devices(table: pd.DataFrame) -> str:
    return " and ".join(sorted(set(table["device"].dropna().astype(str)))) or "no device"


def _copy_ledger(source: Path, target: Path) -> None:
    """Copy a database as one file without free pages, so that the same run gives nearly the same bytes."""
    with contextlib.closing(sqlite3.connect(source)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))
