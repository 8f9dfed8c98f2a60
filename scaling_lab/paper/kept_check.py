"""Check of stored runs: whether study, CSV, page and answers still follow from the ledgers.

    study     the study file has the form, its settings equal the ledger's except for resources, every trial's parameters
              yield the trial's architecture, and a grid has the same points
    CSV       equals the ledger's trials
    page      rendered from the ledger by the current report code; text and tables are compared
    answers   answers.csv and the generated parts of docs/results.md follow from the ledgers

Other versions of libraries may change last digits and drawings. So numbers may differ by 1e-6 of their value or by one unit
of their last printed decimal, and drawings are ignored. Counts, words and everything else must be equal.

A changed study needs a new run; `scaling-lab reproduce keep` updates a changed page or answer.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.errors import UserError
from scaling_lab.paper.answer_table import COLUMNS, TABLES, answer_rows, read_answers
from scaling_lab.paper.kept_runs import home_of, report_file, report_runs
from scaling_lab.paper.questions import Asked
from scaling_lab.paper.run_conditions import csv_name
from scaling_lab.report.page import blocks
from scaling_lab.report.page.markup import render_page
from scaling_lab.report.writing import make_page, read_runs
from scaling_lab.runs.reader import Runs
from scaling_lab.study.search.sampling import replay
from scaling_lab.study.space.enumeration import enumerate_space
from scaling_lab.study.space.study_file import load_study
from scaling_lab.study.study import Study, protocol_digest
from scaling_lab.training.recipe import Recipe

TOLERANCE = 1e-6  # relative, between numbers from two machines
MOST_NAMED = 3
AROUND = 40  # characters of text shown around a difference
# The space is compared by its architectures; resources affect only the speed of trials.
RESOURCES = ("space", "cpus_per_trial", "gpus_per_trial", "workers_per_trial", "trial_seconds")


def problems(asked: Asked, results: Path, *, report: bool = True) -> list[str]:
    """Return the problems of a stored run, empty without any. `report` checks the page too, which takes seconds."""
    try:
        runs = Runs(results / asked.run)
        found = study_problems(runs, asked, home_of(results))
        return [*found, *csv_problems(runs), *page_problems(asked, results)] if report else found
    except UserError as error:
        return [str(error)]


# --- the study -----------------------------------------------------------------------------------------------------------


def study_problems(runs: Runs, asked: Asked, home: Path) -> list[str]:
    """Return how a run differs from its study's file in the folder `home`."""
    try:
        study = load_study(home / "studies" / f"{asked.study}.py").study.form(asked.form or None)
    except UserError as error:
        return [f"study: {error}"]
    found = [
        f"study: {name} was {json.dumps(runs.meta.get(name))} and is {json.dumps(value)}"
        for name, value in study.to_dict().items()
        if name not in RESOURCES and _with_all_fields(name, runs.meta.get(name)) != value
    ]
    trials = runs.table()
    other = int((trials["protocol"] != protocol_digest(study.data.digest(), study.recipe)).sum())
    if other:
        found.append(f"study: {other} of {len(trials)} trials had different data or a different recipe")
    moved = list(_moved(study, runs))
    if moved:
        more = f" and {len(moved) - MOST_NAMED} more" if len(moved) > MOST_NAMED else ""
        found.append(f"study: the space now has different architectures at {'; '.join(moved[:MOST_NAMED])}{more}")
    if study.sampler == "grid" and not study.trials and not moved:
        found += _other_points(study, runs)
    return found


def _with_all_fields(name: str, stored: Any) -> Any:
    """Return a stored value with the fields that a recipe has got since."""
    return Recipe.from_dict(stored).to_dict() if name == "recipe" and isinstance(stored, Mapping) else stored


def _moved(study: Study, runs: Runs) -> Iterator[str]:
    """Yield the points that now have a different architecture or no longer exist."""
    for digest, point in runs.points():
        found = replay(study.space, point)
        if found is None or _as_trained(found[0], study).digest != digest:
            yield ", ".join(f"{name} {value}" for name, value in point.items()) or digest


def _as_trained(spec: DetectorSpec, study: Study) -> DetectorSpec:
    return dataclasses.replace(spec, num_classes=len(study.data.class_names))


def _other_points(study: Study, runs: Runs) -> list[str]:
    """Return a problem if the run lacks architectures of the grid."""
    there = {digest for digest, _ in runs.points()}
    lacking = {_as_trained(spec, study).digest for _, spec in enumerate_space(study.space)} - there
    return [f"study: its grid has {len(lacking)} architectures that the run lacks"] if lacking else []


# --- CSV and page --------------------------------------------------------------------------------------------------------


def csv_problems(runs: Runs) -> list[str]:
    """Compare a stored run's CSV with its ledger."""
    path = runs.path / csv_name(runs)
    if not path.is_file():
        return [f"CSV: {path.name} is missing"]
    why = difference(pd.read_csv(path), _as_read(runs.table()))
    return [f"CSV: {path.name} differs from the ledger: {why}"] if why else []


def _as_read(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as read back from a CSV."""
    return pd.read_csv(io.StringIO(table.to_csv(index=False, lineterminator="\n")))


def page_problems(asked: Asked, results: Path) -> list[str]:
    """Render a stored run's page from its ledger, without drawings, and compare it with the stored one."""
    run = results / asked.run
    file = report_file(run, asked, results)
    stored = run / f"{file.stem}.html"
    if not stored.is_file():
        return [f"page: {stored.name} is missing"]
    page = make_page(read_runs(report_runs(run, asked, results)), file)
    made = render_page(page, _not_drawn, compact=True)
    why = text_difference(_words(stored.read_text(encoding="utf-8")), _words(made))
    return [f"page: {stored.name} differs: {why}; `scaling-lab reproduce keep {asked.run}` updates it"] if why else []


def _not_drawn(figure: blocks.Figure, width: float) -> Figure:
    return Figure(figsize=(width, 1.0))


def _words(page: str) -> str:
    """Return a page's HTML without drawings, scripts and styles."""
    page = re.sub(r"<(svg|script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r' style="[^"]*"', "", page)


def text_difference(before: str, after: str) -> str:
    """Quote the first difference of two texts beyond rounding; "" if there is none."""
    one, other = (list(re.finditer(r"\d+(?:\.\d+)?|\D+", text)) for text in (before, after))
    for first, second in zip(one, other, strict=False):
        if not _is_same(first[0], second[0]):
            same = _common_start(first[0], second[0])
            places = first.start() + same, second.start() + same
            return f"{_around(before, places[0])} was stored, {_around(after, places[1])} is rendered now"
    if len(one) != len(other):
        return f"{len(before):,} characters were stored, {len(after):,} are rendered now"
    return ""


def _is_same(first: str, second: str) -> bool:
    """Compare two words, or two numbers within rounding; numbers without a decimal point must be equal."""
    if first == second:
        return True
    decimals = [len(text.partition(".")[2]) if re.fullmatch(r"\d+\.\d+", text) else 0 for text in (first, second)]
    if not all(decimals):
        return False
    unit = 10.0 ** -min(decimals)
    a, b = float(first), float(second)
    return abs(a - b) <= max(1.01 * unit if decimals[0] == decimals[1] else 0.0, TOLERANCE * max(a, b))


def _common_start(first: str, second: str) -> int:
    """Return the length of the common prefix of two texts."""
    pairs = zip(first, second, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))


def _around(text: str, place: int) -> str:
    return json.dumps(" ".join(text[max(0, place - AROUND) : place + AROUND].split()), ensure_ascii=False)


def difference(before: pd.DataFrame, after: pd.DataFrame) -> str:
    """Describe the first difference of two tables beyond rounding; "" if there is none."""
    if list(before.columns) != list(after.columns):
        changed = sorted(set(before.columns) ^ set(after.columns)) or ["their order"]
        return f"columns ({', '.join(changed[:MOST_NAMED])})"
    if len(before) != len(after):
        return f"{len(before)} rows were stored, {len(after)} are computed now"
    for name in before.columns:
        one, other = before[name], after[name]
        same = _same(one, other)
        if not same.all():
            row = int(np.argmin(same))
            return f"{name} in row {row + 1} was {json.dumps(str(one.iloc[row]))} and is {json.dumps(str(other.iloc[row]))}"
    return ""


def _same(one: pd.Series[Any], other: pd.Series[Any]) -> np.ndarray[Any, Any]:
    """Mark the rows that are equal: as numbers up to TOLERANCE, or as text; missing values equal each other."""
    first, second = (pd.to_numeric(column, errors="coerce").astype(float) for column in (one, other))
    near = np.isclose(first, second, rtol=TOLERANCE, atol=TOLERANCE)
    texts = [column.astype(object).where(column.notna(), "").astype(str) for column in (one, other)]
    return np.asarray(near | (texts[0] == texts[1]).to_numpy())


# --- answers -------------------------------------------------------------------------------------------------------------


def answer_problems(results: Path) -> list[str]:
    """Compare answers.csv with the answers from the stored runs, and docs/results.md with answers.csv."""
    stored = read_answers(results)
    found = []
    for row in answer_rows(results):
        before = stored.get(int(row["number"]), dict.fromkeys(COLUMNS, ""))
        for name in COLUMNS:
            if why := text_difference(before[name], row[name]):
                found.append(f"question {row['number']}, {name}: {why}; `scaling-lab reproduce keep` updates it")
                break
    return [*found, *table_problems(results)]


def table_problems(results: Path) -> list[str]:
    """Compare the generated tables in the files beside `reports/` with answers.csv."""
    rows = [row for _, row in sorted(read_answers(results).items())]
    home = results.resolve().parents[1]
    found = []
    for table in TABLES:
        path = home / table.file
        if not path.is_file() or table.begin not in (text := path.read_text(encoding="utf-8")):
            continue
        if table.text(rows) not in text:
            found.append(f"{table.file}: its table is not what `{table.command}` prints; replace it")
    return found
