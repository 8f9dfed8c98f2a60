"""Whether a kept run still is what its study, its report and the code would give. It trains nothing.

    study     its file still has the form, with all that the run has recorded of it but the resources; every trial's parameters
              still give the trial's architecture; a grid has the same points
    report    made anew from the kept ledger: the trials' table, every table and figure's numbers, and the page's words
    code      the sources that make an AP or a cost are those that the trials ran with, by code_digest, or both have been seen to
              give the same numbers (confirmation.py)

What mends the first and the last is another run; the report and the answers are renewed by `scaling-lab reproduce keep`.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.code_digest import code_digest
from scaling_lab.errors import UserError
from scaling_lab.reproduction.questions import Asked
from scaling_lab.results.confirmation import confirmed_digests, training_sessions
from scaling_lab.results.kept import csv_name, home_of, write_kept_report
from scaling_lab.results.table import COLUMNS, answer_rows, read_answers
from scaling_lab.runs.reader import Runs
from scaling_lab.study.search.sampling import replay
from scaling_lab.study.space.enumeration import enumerate_space
from scaling_lab.study.space.loading import load_study
from scaling_lab.study.study import Study, protocol_digest

TOLERANCE = 1e-6  # between the numbers of two machines' libraries, relative
MOST_NAMED = 3
# The space is asked itself; how many trials run at once, and for how long, decides no number.
RESOURCES = ("space", "cpus_per_trial", "gpus_per_trial", "workers_per_trial", "trial_seconds")


def problems(asked: Asked, results: Path, *, report: bool = True) -> list[str]:
    """Say why a kept run no longer matches; nothing where it does. The report's part takes seconds, the others less."""
    try:
        runs = Runs(results / asked.run)
        found = [*study_problems(runs, asked, home_of(results)), *code_problems(runs)]
        return [*found, *report_problems(asked, results)] if report else found
    except UserError as error:
        return [str(error)]


# --- the study -----------------------------------------------------------------------------------------------------------


def study_problems(runs: Runs, asked: Asked, home: Path) -> list[str]:
    """Hold a run against its study's file as it is now, in the folder `home`."""
    try:
        study = load_study(home / "studies" / f"{asked.study}.py").study.form(asked.form or None)
    except UserError as error:
        return [f"study: {error}"]
    found = [
        f"study: {name} was {json.dumps(runs.meta.get(name))} and is {json.dumps(value)}"
        for name, value in study.to_dict().items()
        if name not in RESOURCES and runs.meta.get(name) != value
    ]
    trials = runs.table()
    protocol = protocol_digest(study.data.digest(), study.recipe)
    other = int((trials["protocol"] != protocol).sum())
    if other:
        found.append(
            f"study: {other} of {len(trials)} trials had other data or another recipe, or other images were made then"
        )
    moved = list(_moved(study, runs))
    if moved:
        more = f" and {len(moved) - MOST_NAMED} more" if len(moved) > MOST_NAMED else ""
        found.append(f"study: the space gives other architectures now at {'; '.join(moved[:MOST_NAMED])}{more}")
    if study.is_exhaustive and not study.trials and not moved:
        found += _other_points(study, runs)
    return found


def _moved(study: Study, runs: Runs) -> Iterator[str]:
    """Name the points that now give another architecture, or are none any more."""
    for digest, point in runs.points():
        found = replay(study.space, point)
        if found is None or _as_trained(found[0], study).digest != digest:
            yield ", ".join(f"{name} {value}" for name, value in point.items()) or digest


def _as_trained(spec: DetectorSpec, study: Study) -> DetectorSpec:
    return dataclasses.replace(spec, num_classes=len(study.data.class_names))


def _other_points(study: Study, runs: Runs) -> list[str]:
    """Say how many of a grid's architectures the run lacks."""
    there = {digest for digest, _ in runs.points()}
    lacking = {_as_trained(spec, study).digest for _, spec in enumerate_space(study.space)} - there
    return [f"study: its grid has {len(lacking)} architectures that the run has not"] if lacking else []


# --- the code ------------------------------------------------------------------------------------------------------------


def code_problems(runs: Runs) -> list[str]:
    """Hold the code that a run's trials ran with against today's."""
    present = code_digest()
    ran = {str((row["versions"] or {}).get("code", "not recorded")) for row in training_sessions(runs)}
    other = sorted(ran - {present})
    if not other or present in confirmed_digests(runs.path):
        return []
    return [
        f"code: trials ran with the code {', '.join(other)}, and it is {present} now; run it again, or where no number should "
        f"have changed let `scaling-lab reproduce confirm {runs.path.name}` compare what both give"
    ]


# --- the report and the answers ------------------------------------------------------------------------------------------


def report_problems(asked: Asked, results: Path) -> list[str]:
    """Make a kept run's report again and compare its numbers and words with the kept ones."""
    run = results / asked.run
    kept, runs = run / "report", Runs(run)
    found = []
    trials = run / csv_name(runs)
    if not trials.is_file():
        found.append(f"report: {trials.name} is not kept")
    with tempfile.TemporaryDirectory() as folder:
        try:
            page = write_kept_report(run, asked, results, Path(folder))
        except UserError as error:
            return [*found, f"report: {error}"]
        runs.table().to_csv(page.parent / trials.name, index=False, lineterminator="\n")
        before, after = _tables(kept) | _tables(run, "*.csv"), _tables(page.parent)
        for name in sorted(before.keys() | after.keys()):
            if name not in before or name not in after:
                found.append(f"report: {name} is {'not kept' if name in after else 'no longer made'}")
            elif why := difference(pd.read_csv(before[name]), pd.read_csv(after[name])):
                found.append(f"report: {name} differs: {why}")
        if not (kept / page.name).is_file():
            found.append(f"report: {page.name} is not kept")
        elif _words(kept / page.name) != _words(page):
            found.append(f"report: the words of {page.name} differ")
    return found


def _tables(folder: Path, pattern: str = "**/*.csv") -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.glob(pattern)}


def _words(page: Path) -> str:
    """Give a page without its drawings, scripts and styles, which other versions of libraries draw otherwise."""
    return re.sub(r"<(svg|script|style)\b.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def difference(before: pd.DataFrame, after: pd.DataFrame) -> str:
    """Say in what two tables differ beyond rounding; nothing where they do not."""
    if list(before.columns) != list(after.columns):
        changed = sorted(set(before.columns) ^ set(after.columns)) or ["their order"]
        return f"columns ({', '.join(changed[:MOST_NAMED])})"
    if len(before) != len(after):
        return f"{len(before)} rows were kept, {len(after)} are made"
    for name in before.columns:
        one, other = before[name], after[name]
        same = _same(one, other)
        if not same.all():
            row = int(np.argmin(same))
            return f"{name} in row {row + 1} was {json.dumps(str(one.iloc[row]))} and is {json.dumps(str(other.iloc[row]))}"
    return ""


def _same(one: pd.Series[Any], other: pd.Series[Any]) -> np.ndarray[Any, Any]:
    """Mark the rows that are equal: as numbers up to TOLERANCE, or as they are written; what is missing equals itself."""
    first, second = (pd.to_numeric(column, errors="coerce").astype(float) for column in (one, other))
    near = np.isclose(first, second, rtol=TOLERANCE, atol=TOLERANCE)
    written = one.astype(object).where(one.notna(), "").astype(str) == other.astype(object).where(
        other.notna(), ""
    ).astype(str)
    return np.asarray(near | written.to_numpy())


def answer_problems(results: Path) -> list[str]:
    """Answer all questions again from the kept runs and compare the words."""
    kept = read_answers(results)
    found = []
    for row in answer_rows(results):
        before = kept.get(int(row["number"]), dict.fromkeys(COLUMNS, ""))
        changed = [name for name in COLUMNS if before[name] != row[name]]
        if changed:
            found.append(
                f"question {row['number']}: {changed[0]} was {before[changed[0]]!r} and is {row[changed[0]]!r}; "
                "`scaling-lab reproduce keep` writes it anew"
            )
    return found
