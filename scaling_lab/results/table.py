"""The table of all questions and answers: as a file beside the kept runs, and as the README shows it. It measures nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from scaling_lab.files import write_whole
from scaling_lab.reproduction.questions import QUESTIONS, Question
from scaling_lab.results.answers import answer
from scaling_lab.results.kept import kept_runs

NAME = "answers.csv"
COLUMNS = ("number", "question", "answer", "details", "conditions", "published", "commands")
OPEN = "not answered yet"


def answer_rows(results: Path) -> list[dict[str, str]]:
    """Answer the questions from the kept runs; one without has no answer and no conditions."""
    return [_row(question, results) for question in QUESTIONS]


def _row(question: Question, results: Path) -> dict[str, str]:
    found = answer(question.number, kept_runs(results, question.asked))
    return {
        "number": str(question.number),
        "question": question.text,
        "answer": "" if found is None else found.text,
        "details": "" if found is None else found.details,
        "conditions": "" if found is None else found.conditions,
        "published": question.published_where,
        "commands": "; ".join(question.commands),
    }


def write_answers(results: Path) -> list[dict[str, str]]:
    """Answer all questions and write <results>/answers.csv; give its rows."""
    rows = answer_rows(results)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(results / NAME, text.getvalue())
    return rows


def read_answers(results: Path) -> dict[int, dict[str, str]]:
    """Read the answers that are kept, by the questions' numbers."""
    path = results / NAME
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {int(row["number"]): row for row in csv.DictReader(file)}


def as_markdown(rows: Iterable[Mapping[str, str]], results: str = "reports/results") -> str:
    """Write the table as the README has it, with a link from each question to its first run, and the details below it."""
    rows = list(rows)
    lines = ["| | Question | Answer here | Conditions | The paper | Again |", "|---|---|---|---|---|---|"]
    for row in rows:
        question = next(each for each in QUESTIONS if str(each.number) == row["number"])
        text = f"[{row['question']}]({results}/{question.asked[0].run})" if row["answer"] else row["question"]
        commands = "<br>".join(f"`{command}`" for command in row["commands"].split("; "))
        cells = (row["number"], text, row["answer"] or OPEN, row["conditions"] or "–", row["published"], commands)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    details = [f"- {row['number']}: {row['details']}." for row in rows if row["details"]]
    return "\n".join([*lines, *(["", "Beside that:", "", *details] if details else [])]) + "\n"
