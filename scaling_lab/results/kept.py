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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from scaling_lab.errors import UserError
from scaling_lab.report.writing import write_report
from scaling_lab.reproduction.questions import Asked
from scaling_lab.runs.reader import Runs
from scaling_lab.runs.status import read_status
from scaling_lab.starter import starter_folder
from scaling_lab.text import number

FOLDER = Path("reports") / "results"
CONFIRMED = "confirmed.json"  # what confirmation.py notes beside a kept ledger


def results_folder() -> Path:
    """Give the folder of kept results: here, or those that ship with the package."""
    return FOLDER if FOLDER.is_dir() else starter_folder() / FOLDER


def home_of(results: Path) -> Path:
    """Give the folder whose studies and reports made these results: theirs, or the package's."""
    home = results.resolve().parents[1]
    return home if (home / "studies").is_dir() else starter_folder()


def is_kept(asked: Asked, results: Path) -> bool:
    """Say whether a run is among the results."""
    return (results / asked.run / "ledger.sqlite").is_file()


def kept_runs(results: Path, asked: Sequence[Asked]) -> dict[str, Runs]:
    """Open the kept ones of the runs that a question needs, by name, those beside which reports set others included."""
    names = dict.fromkeys([*(each.run for each in asked), *(each.beside for each in asked if each.beside)])
    return {name: Runs(results / name) for name in names if (results / name / "ledger.sqlite").is_file()}


def why_unfinished(run: Path) -> str:
    """Say why a run cannot be kept yet; nothing where it has ended."""
    status = read_status(run)
    ended = sum(status["states"][state] for state in ("complete", "stopped", "failed"))
    if status["driver"]:
        return "it is running"
    if not status["trials"]:
        return "it has no trials"
    return (
        f"{status['trials'] - ended} of its {status['trials']} trials have not ended"
        if ended < status["trials"]
        else ""
    )


def keep(run: Path, asked: Asked, results: Path) -> Path:
    """Keep a finished run under its name, in place of what was kept of it, once all of it is made; give the folder.

    `run` may be the kept one itself, whose table and report are then made anew. Raises UserError where it is not finished, is
    another study's, or where its report needs a run that is not kept.
    """
    meta = Runs(run).meta
    if (meta.get("study"), meta.get("form") or "") != (asked.study, asked.form):
        form = f", form {meta['form']}" if meta.get("form") else ""
        raise UserError(f"{run} is of the study {meta.get('study')}{form}, so it cannot be kept as {asked.run}")
    if why := why_unfinished(run):
        raise UserError(f"{run} cannot be kept: {why}; `{asked.command}` goes on with it")
    if asked.beside and not (results / asked.beside / "ledger.sqlite").is_file():
        raise UserError(
            f"{run} cannot be kept before {asked.beside}, which its report needs: {results} does not hold it"
        )
    folder, beside = results / asked.run, results / ".new"
    made = beside / asked.run
    try:
        shutil.rmtree(beside, ignore_errors=True)
        made.mkdir(parents=True)
        _copy_ledger(run / "ledger.sqlite", made / "ledger.sqlite")
        Runs(made).table().to_csv(made / csv_name(Runs(made)), index=False, lineterminator="\n")
        if run.resolve() == folder.resolve() and (run / CONFIRMED).is_file():
            shutil.copy(run / CONFIRMED, made)
        write_kept_report(made, asked, results, made / "report")
        if folder.exists():
            folder.rename(beside / "old")
        made.rename(folder)
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"{folder} cannot be written: {error}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def write_kept_report(run: Path, asked: Asked, results: Path, out: Path) -> Path:
    """Make the compact report of a run that is kept or about to be."""
    paths = [run, *([results / asked.beside] if asked.beside else [])]
    named = asked.report or str(Runs(run).meta["report"])
    return write_report(paths, home_of(results) / named, out, compact=True)


def csv_name(runs: Runs) -> str:
    """Name a table by its conditions: "trials_shapes_128px_8_epochs_5_seeds_amd_epyc.csv"."""
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
    """Give what a run's numbers hold for, as text: data, images, held_out, gmacs, sizes (pixels), epochs, seeds, device.

    `gmacs` are those of one image from the cheapest to the dearest detector, `seeds` those of an architecture in the search,
    `fresh` those of finalists.
    """
    table, meta = runs.table(), runs.meta
    complete = table[table["state"] == "complete"]
    searched = complete["role"] == "search"
    specs = runs.specs()
    sizes = sorted({max(specs[str(digest)].image_size) for digest in table["architecture"].unique()})
    images, held_out = ((meta.get("data") or {}).get(f"{part}_images") for part in ("train", "val"))
    gmacs = list(dict.fromkeys(number(value, 3) for value in (complete["gmacs"].min(), complete["gmacs"].max())))
    return {
        "data": str((meta.get("data") or {}).get("kind", "data")),
        "images": None if images is None else f"{images:,}",
        "held_out": None if held_out is None else f"{held_out:,}",
        "gmacs": " to ".join(gmacs),
        "sizes": _span(sizes),
        "epochs": _span(sorted(set(complete["epochs"].astype(int)))),
        "seeds": _span(_repeats(complete[searched])),
        "fresh": _span(_repeats(complete[~searched])) if (~searched).any() else None,
        "device": " and ".join(sorted(set(table["device"].dropna().astype(str)))) or "no device",
    }


def _repeats(trials: pd.DataFrame) -> list[int]:
    return sorted({int(count) for count in trials.groupby("architecture")["seed"].nunique()})


def _span(values: list[int]) -> str:
    return "none" if not values else str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _copy_ledger(source: Path, target: Path) -> None:
    """Copy a database as one file without free pages, so that the same run gives nearly the same bytes."""
    with contextlib.closing(sqlite3.connect(source)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))
