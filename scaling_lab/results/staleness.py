"""Whether a kept run still is what its study, its report and the code would give. It trains nothing.

study     its file still has the form, with the same question, data and recipe; every trial's parameters still give the
          trial's architecture; a grid has no point or seed that the run lacks
report    made anew from the kept ledger, every table and every figure's numbers are those that are kept
code      the sources that make an AP or a cost are those that the trials ran with, by code_digest, or a trial has been
          trained again with those of today and had the same AP (confirmation.py)
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.code_digest import code_digest
from scaling_lab.errors import UserError
from scaling_lab.report.tables import records
from scaling_lab.reproduction.questions import Asked
from scaling_lab.results.confirmation import confirmed_digests
from scaling_lab.results.kept import write_kept_report
from scaling_lab.results.table import answer_rows, read_answers
from scaling_lab.runs import Runs
from scaling_lab.starter import starter_folder
from scaling_lab.study.enumeration import enumerate_space, spec_at
from scaling_lab.study.loading import load_study
from scaling_lab.study.study import Study, protocol_digest

TOLERANCE = 1e-6  # between the numbers of two machines' libraries, relative
MOST_NAMED = 3


def problems(asked: Asked, results: Path, *, report: bool = True) -> list[str]:
    """Say why a kept run no longer matches; nothing where it does. The report's part takes seconds, the others less."""
    runs = Runs(results / asked.run)
    found = [*study_problems(runs, asked), *code_problems(runs)]
    return [*found, *report_problems(asked, results)] if report else found


def study_problems(runs: Runs, asked: Asked) -> list[str]:
    """Hold a run against its study's file as it is now."""
    path = starter_folder() / "studies" / f"{asked.study}.py"
    try:
        study = load_study(path).study.form(asked.form or None)
    except UserError as error:
        return [f"study: {error}"]
    found = []
    if runs.meta.get("question") != study.question:
        found.append(f"study: its question was {runs.meta.get('question')!r} and is {study.question!r}")
    trials = runs.table()
    protocol = protocol_digest(study.data.digest(), study.recipe)
    other = trials[trials["protocol"] != protocol]
    if len(other):
        found.append(f"study: data or recipe have changed; {len(other)} of {len(trials)} trials had others")
    moved = list(_moved(study, runs))
    if moved:
        named = "; ".join(moved[:MOST_NAMED]) + (
            f" and {len(moved) - MOST_NAMED} more" if len(moved) > MOST_NAMED else ""
        )
        found.append(f"study: the space gives other architectures now at {named}")
    if study.sampler == "grid":
        found += _missing(study, trials)
    return found


def _moved(study: Study, runs: Runs) -> Iterator[str]:
    """Name the points that now give another architecture."""
    for digest, point in runs.points():
        try:
            gives = _as_trained(spec_at(study.space, point), study).digest
        except UserError:
            gives = ""
        if gives != digest:
            yield ", ".join(f"{name} {value}" for name, value in point.items()) or digest


def _as_trained(spec: DetectorSpec, study: Study) -> DetectorSpec:
    return dataclasses.replace(spec, num_classes=len(study.data.class_names))


def _missing(study: Study, trials: pd.DataFrame) -> list[str]:
    """Say which points and seeds of a grid have no ended trial."""
    there = {(str(row["architecture"]), int(row["seed"])) for row in records(trials)}
    wanted = {
        (_as_trained(spec, study).digest, seed) for _, spec in enumerate_space(study.space) for seed in study.seeds
    }
    lacking = wanted - there
    return (
        [f"study: {len(lacking)} of its {len(wanted)} trials are not in the run"]
        if lacking and not study.trials
        else []
    )


def code_problems(runs: Runs) -> list[str]:
    """Hold the code that a run's sessions ran with against today's."""
    present = code_digest()
    if present in confirmed_digests(runs.path):
        return []
    ran = {str((versions or {}).get("code", "not recorded")) for versions in runs.sessions()["versions"]}
    other = sorted(ran - {present})
    if not other:
        return []
    return [
        f"code: it ran with the code {', '.join(other)}, which is now {present}; run it again, or where no number can have "
        f"changed let `scaling-lab reproduce confirm {runs.path.name}` train one of its trials again"
    ]


def report_problems(asked: Asked, results: Path) -> list[str]:
    """Make a kept run's report again and compare its numbers with the kept ones."""
    kept = results / asked.run / "report"
    with tempfile.TemporaryDirectory() as folder:
        try:
            page = write_kept_report(asked, results, Path(folder))
        except UserError as error:
            return [f"report: {error}"]
        before, after = _tables(kept), _tables(page.parent)
        found = [] if (kept / page.name).is_file() else [f"report: {page.name} is not kept"]
        for name in sorted(before.keys() | after.keys()):
            if name not in before or name not in after:
                found.append(f"report: {name} is {'not kept' if name in after else 'no longer made'}")
            elif why := difference(pd.read_csv(before[name]), pd.read_csv(after[name])):
                found.append(f"report: {name} differs: {why}")
    return found


def answer_problems(results: Path) -> list[str]:
    """Answer all questions again from the kept runs and compare the words."""
    kept = read_answers(results)
    found = []
    for row in answer_rows(results):
        before = kept.get(int(row["number"]))
        if before != row:
            found.append(f"question {row['number']} is answered otherwise now: {row['answer'] or 'not at all'}")
    return found


def _tables(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.csv")}


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
