"""reproduce: the paper's questions, answers and stored results, its cost tables and two of its figures."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scaling_lab.cli.parsing import add_verb
from scaling_lab.errors import UserError
from scaling_lab.paper.questions import OPEN, QUESTIONS, QUESTIONS_RUNS, SOURCE, Asked, Question

WIDTH = 120  # characters a line


def add_verbs(verbs: Any) -> None:
    """Add the verb to the parser."""
    reproduce = add_verb(
        verbs,
        "reproduce",
        _reproduce,
        "list the paper's questions with the answers found here, check or store results, print its cost tables, draw two figures",
        "reproduce",
        "reproduce check",
        "reproduce keep topology_ablation-seeds",
        "reproduce table --short",
        "reproduce costs",
        "reproduce figures --out published",
    )
    reproduce.add_argument(
        "what",
        nargs="?",
        choices=list(_WHAT),
        default="questions",
        help="questions: answers and state of the runs (the default); check: whether study, page and answers follow from the "
        "stored ledgers; keep: store finished runs, update pages and answers; table: the answers as Markdown; costs: "
        "Tables 1, 2, 4 and 5, without training; figures: a page of Figures 1 and 4 with later published detectors",
    )
    reproduce.add_argument("names", nargs="*", metavar="RUN", help="for check and keep: which runs (default: all)")
    reproduce.add_argument("--short", action="store_true", help="for table: one line for each answer")
    reproduce.add_argument("--runs", type=Path, default=Path("runs"), help="the folder of runs (runs)")
    reproduce.add_argument("--out", type=Path, help="for figures: the folder of the page (published)")
    reproduce.add_argument("--results", type=Path, help="the folder of stored runs (reports/results)")


def _reproduce(options: argparse.Namespace) -> int:
    if options.names and options.what not in ("check", "keep"):
        raise UserError(f"reproduce {options.what} takes no run names; got {options.names[0]!r}")
    if options.short and options.what != "table":
        raise UserError(f"--short is for reproduce table; reproduce {options.what} has no short form")
    if options.out is not None and options.what != "figures":
        raise UserError(f"--out is for reproduce figures; reproduce {options.what} writes no page")
    return _WHAT[options.what](options)


def _costs(options: argparse.Namespace) -> int:
    from scaling_lab.paper import as_text, cost_tables

    tables = cost_tables()
    print(json.dumps([table.to_dict() for table in tables], indent=1) if options.json else as_text(tables))
    return 0


def _figures(options: argparse.Namespace) -> int:
    """Write the page of Figures 1 and 4 from published numbers."""
    from scaling_lab.report.page.writer import write_page
    from scaling_lab.report.sections.paper_figures import figures_page

    page = write_page(figures_page(), options.out or Path("published"), "figures")
    print(json.dumps({"page": str(page)}) if options.json else page)
    return 0


# --- the questions -------------------------------------------------------------------------------------------------------


def _questions(options: argparse.Namespace) -> int:
    """List the paper's questions, its answers, ours, and the state of the runs."""
    from scaling_lab.paper.answer_table import read_answers

    results = _results(options)
    answers = read_answers(results)
    rows = [_question_row(question, answers.get(question.number, {}), options.runs, results) for question in QUESTIONS]
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    for question, row in zip(QUESTIONS, rows, strict=True):
        _print_question(question, row)
    print(
        f"published: {SOURCE}; brackets: 95 % intervals; `scaling-lab reproduce check` also compares pages and answers"
    )
    return 0


def _question_row(question: Question, found: Mapping[str, str], runs: Path, results: Path) -> dict[str, Any]:
    return {
        "number": question.number,
        "question": question.text,
        **{name: found.get(name) or None for name in ("short", "answer", "details", "conditions")},
        "published": question.published,
        "where": question.where,
        "runs": [
            {
                "run": asked.run,
                "state": run_state(runs / asked.run),
                "stored": stored_state(asked, results),
                "command": asked.command,
            }
            for asked in question.asked
        ],
        "paper_command": question.paper_command,
    }


def _print_question(question: Question, row: Mapping[str, Any]) -> None:
    print(f"{row['number']}. {row['question']}")
    texts = {
        "answer": row["answer"] or OPEN,
        "more": row["details"],
        "conditions": row["conditions"],
        "paper": question.published_where,
    }
    for name, text in texts.items():
        if text:
            print(textwrap.fill(text, WIDTH, initial_indent=f"   {name:<11}", subsequent_indent=" " * 14))
    for run in row["runs"]:
        print(f"   {run['command']}\n              {run['state']}; {run['stored']}")
    for command in question.measured:
        print(f"   {command}")
    print(f"   {row['paper_command']}\n")


def run_state(folder: Path) -> str:
    """Describe a run's progress, and where its report is."""
    if not (folder / "ledger.sqlite").is_file():
        return "not run"
    from scaling_lab.runs.run_status import read_status

    status = read_status(folder)
    states, trials = status["states"], status["trials"]
    ended = states["complete"] + states["stopped"] + states["failed"]
    running = "running, " if status["driver"] else ""
    failed = f", {states['failed']} failed" if states["failed"] else ""
    report = next((folder / "report").glob("*.html"), None)
    page = f", {report}" if report and ended == trials else ""
    return f"{running}{ended} of {trials} trials ended{failed}{page}"


def stored_state(asked: Asked, results: Path) -> str:
    """Say whether a run's result is stored and matches its study. The page is not checked."""
    from scaling_lab.paper.kept_check import problems
    from scaling_lab.paper.kept_runs import is_kept

    if not is_kept(asked, results):
        return "no stored result"
    found = problems(asked, results, report=False)
    return f"stored result does not match: {'; '.join(found)}" if found else "stored result matches its study"


# --- stored results ------------------------------------------------------------------------------------------------------


def _check(options: argparse.Namespace) -> int:
    """Check stored runs and answers; exit code 1 where one does not match."""
    from scaling_lab.paper.kept_check import answer_problems, problems
    from scaling_lab.paper.run_conditions import made_by
    from scaling_lab.runs.reader import Runs

    results = _results(options)
    found = {}
    for asked in _chosen(options.names, results):
        found[asked.run] = problems(asked, results)
        matches = "" if found[asked.run] else f"matches its study and page ({made_by(Runs(results / asked.run))})"
        _say(options, f"{asked.run}: {matches or '; '.join(found[asked.run])}")
    if not options.names:
        found["answers"] = answer_problems(results)
        _say(options, f"answers: {'; '.join(found['answers']) or 'match the stored runs'}")
    if options.json:
        print(json.dumps(found, indent=1))
    return int(any(found.values()))


def _keep(options: argparse.Namespace) -> int:
    """Store finished runs, update pages of stored ones, and write the answers."""
    from scaling_lab.paper.answer_table import write_answers
    from scaling_lab.paper.kept_check import table_problems
    from scaling_lab.paper.kept_runs import has_ledger, keep, why_unfinished

    results = _results(options)
    if options.results is None and not results.is_relative_to(Path.cwd()) and results.is_absolute():
        raise UserError("there is no reports/results, and installed packages store no results; give --results")
    for asked in _to_keep(options, results):
        run = options.runs / asked.run
        fresh = has_ledger(run)
        run = run if fresh else results / asked.run
        why = why_unfinished(run)
        if why and not options.names:
            _say(options, f"{run}: not stored, {why}")
            continue
        _say(options, f"{keep(run, asked, results)}: {'stored' if fresh else 'CSV and page updated'}")
    rows = write_answers(results)
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    _say(options, f"{results / 'answers.csv'}: written")
    for problem in table_problems(results):
        _say(options, problem)
    return 0


def _to_keep(options: argparse.Namespace, results: Path) -> list[Asked]:
    """Return the runs to store, those that other reports use first."""
    from scaling_lab.paper.kept_runs import has_ledger, is_kept, stored

    chosen = _named(options.names, options.runs, results)
    if not options.names:
        chosen = list(
            dict.fromkeys([each for each in QUESTIONS_RUNS if has_ledger(options.runs / each.run)] + stored(results))
        )
    if not chosen:
        raise UserError(f"{options.runs} has no run of the paper's questions; `scaling-lab reproduce` lists them")
    for asked in chosen:
        if not has_ledger(options.runs / asked.run) and not is_kept(asked, results):
            raise UserError(f"neither {options.runs} nor {results} has a run {asked.run}; `{asked.command}` makes it")
    # A report that compares two runs changes with either run.
    changed = {each.run for each in chosen}
    chosen += [each for each in stored(results) if each.beside in changed and each.run not in changed]
    return sorted(chosen, key=lambda each: bool(each.beside))


def _table(options: argparse.Namespace) -> int:
    from scaling_lab.paper.answer_table import long_markdown, read_answers, short_markdown

    rows = [row for _, row in sorted(read_answers(_results(options)).items())]
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        print(short_markdown(rows) if options.short else long_markdown(rows), end="")
    return 0


def _results(options: argparse.Namespace) -> Path:
    from scaling_lab.paper.kept_runs import results_folder

    return Path(options.results) if options.results is not None else results_folder()


def _named(names: list[str], *folders: Path) -> list[Asked]:
    """Return the runs of these names, from the questions or from the folders. Raises UserError."""
    from scaling_lab.paper.kept_runs import asked_of

    found = {name: asked_of(name, *folders) for name in names}
    for name, asked in found.items():
        if asked is None:
            questions = ", ".join(each.run for each in QUESTIONS_RUNS)
            raise UserError(
                f"{name!r} is neither a run of the paper's questions nor a folder in {' or '.join(map(str, folders))}; "
                f"the questions' runs are {questions}"
            )
    return [asked for asked in found.values() if asked is not None]


def _chosen(names: list[str], results: Path) -> list[Asked]:
    """Return the stored runs of these names, or all. Raises UserError."""
    from scaling_lab.paper.kept_runs import stored

    there = stored(results)
    chosen = _named(names, results) if names else there
    missing = [each.run for each in chosen if each not in there]
    if missing:
        raise UserError(
            f"{results} holds no {missing[0]}; stored are {', '.join(each.run for each in there) or 'none'}"
        )
    return chosen


def _say(options: argparse.Namespace, text: str) -> None:
    if not options.json:
        print(text, flush=True)


_WHAT: dict[str, Callable[[argparse.Namespace], int]] = {
    "questions": _questions,
    "check": _check,
    "keep": _keep,
    "table": _table,
    "costs": _costs,
    "figures": _figures,
}
