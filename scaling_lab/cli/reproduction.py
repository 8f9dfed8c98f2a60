"""reproduce: the paper's questions with their answers and the state of these, and its cost tables."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scaling_lab.cli.parsing import add_verb
from scaling_lab.errors import UserError
from scaling_lab.reproduction.questions import QUESTIONS, SOURCE, Asked

WIDTH = 120  # of a line in characters


def add_verbs(verbs: Any) -> None:
    """Add it to the parser."""
    reproduce = add_verb(
        verbs,
        "reproduce",
        _reproduce,
        "list the paper's questions with what was found here, check or renew what is kept of it, or print the paper's costs",
        "reproduce",
        "reproduce check",
        "reproduce keep topology_ablation-seeds",
        "reproduce costs",
    )
    reproduce.add_argument(
        "what",
        nargs="?",
        choices=list(_WHAT),
        default="questions",
        help="questions: each with its answer, and how far its runs are (the default); check: whether what is kept still "
        "matches its studies, reports and the code; keep: put finished runs among the results, make reports and "
        "answers anew; confirm: train a few steps by the code of kept runs and the present one, after a change that alters no "
        "number; table: the answers as Markdown; costs: tables 1, 2, 4 and 5, "
        "without training",
    )
    reproduce.add_argument(
        "names", nargs="*", metavar="RUN", help="for check, keep and confirm: which runs (all there are)"
    )
    reproduce.add_argument("--runs", type=Path, default=Path("runs"), help="the folder of runs (runs)")
    reproduce.add_argument("--results", type=Path, help="the folder of kept runs (reports/results)")


def _reproduce(options: argparse.Namespace) -> int:
    if options.names and options.what not in ("check", "keep", "confirm"):
        raise UserError(f"reproduce {options.what} takes no names of runs, and {options.names[0]!r} is given")
    return _WHAT[options.what](options)


def _costs(options: argparse.Namespace) -> int:
    from scaling_lab.reproduction import as_text, cost_tables

    tables = cost_tables()
    print(json.dumps([table.to_dict() for table in tables], indent=1) if options.json else as_text(tables))
    return 0


# --- the questions -------------------------------------------------------------------------------------------------------


def _questions(options: argparse.Namespace) -> int:
    """List the paper's questions, what it answers, what was found here, and how far the runs are."""
    from scaling_lab.results.table import read_answers

    results = _results(options)
    answers = read_answers(results)
    rows: list[dict[str, Any]] = []
    for question in QUESTIONS:
        found = answers.get(question.number, {})
        rows.append(
            {
                "number": question.number,
                "question": question.text,
                "answer": found.get("answer") or None,
                "details": found.get("details") or None,
                "conditions": found.get("conditions") or None,
                "published": question.published,
                "where": question.where,
                "runs": [
                    {
                        "run": asked.run,
                        "state": run_state(options.runs / asked.run),
                        "kept": kept_state(asked, results),
                        "command": asked.command,
                    }
                    for asked in question.asked
                ],
                "paper_command": question.paper_command,
            }
        )
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    for question, row in zip(QUESTIONS, rows, strict=True):
        print(f"{row['number']}. {row['question']}")
        said = {
            "published": question.published_where,
            "here": row["answer"] or "not answered yet",
            "more": row["details"],
            "conditions": row["conditions"],
        }
        for name, text in said.items():
            if text:
                print(textwrap.fill(text, WIDTH, initial_indent=f"   {name:<11}", subsequent_indent=" " * 14))
        for run in row["runs"]:
            print(f"   {run['command']}\n              {run['state']}; {run['kept']}")
        for command in question.measured:
            print(f"   {command}")
        print(f"   {row['paper_command']}\n")
    print(f"published: {SOURCE}; `scaling-lab reproduce check` makes the kept reports anew and compares them, too")
    return 0


def run_state(folder: Path) -> str:
    """Say how far a run is: trials ended, and where its report is."""
    if not (folder / "ledger.sqlite").is_file():
        return "not run here"
    from scaling_lab.runs.status import read_status

    status = read_status(folder)
    states, trials = status["states"], status["trials"]
    ended = states["complete"] + states["stopped"] + states["failed"]
    running = "running, " if status["driver"] else ""
    failed = f", {states['failed']} failed" if states["failed"] else ""
    report = next((folder / "report").glob("*.html"), None)
    page = f", {report}" if report and ended == trials else ""
    return f"{running}{ended} of {trials} trials ended{failed}{page}"


def kept_state(asked: Asked, results: Path) -> str:
    """Say whether a run is kept, and whether it matches study and code; its report is not made for this."""
    from scaling_lab.results.kept import is_kept
    from scaling_lab.results.staleness import problems

    if not is_kept(asked, results):
        return "nothing is kept"
    found = problems(asked, results, report=False)
    return f"kept, but {'; '.join(found)}" if found else "kept, and matches study and code"


# --- what is kept --------------------------------------------------------------------------------------------------------


def _check(options: argparse.Namespace) -> int:
    """Check kept runs and answers, and fail where one no longer matches."""
    from scaling_lab.results.staleness import answer_problems, problems

    results = _results(options)
    chosen = _chosen(options.names, results)
    found = {}
    for asked in chosen:
        found[asked.run] = problems(asked, results)
        _say(options, f"{asked.run}: {'; '.join(found[asked.run]) or 'matches study, report and code'}")
    if not options.names:
        found["answers.csv"] = answer_problems(results)
        _say(options, f"answers.csv: {'; '.join(found['answers.csv']) or 'matches the kept runs'}")
    if options.json:
        print(json.dumps(found, indent=1))
    return int(any(found.values()))


def _keep(options: argparse.Namespace) -> int:
    """Keep finished runs, make the reports of those that are kept already anew, and answer the questions."""
    from scaling_lab.results.kept import is_kept, keep, why_unfinished
    from scaling_lab.results.table import write_answers

    results = _results(options)
    if options.results is None and not results.is_relative_to(Path.cwd()) and results.is_absolute():
        raise UserError(
            "reports/results is not here, and results are not kept inside an installed package; name --results"
        )
    fresh = {each.run: (options.runs / each.run / "ledger.sqlite").is_file() for each in _all()}
    chosen = _named(options.names) or [each for each in _all() if fresh[each.run] or is_kept(each, results)]
    if not chosen:
        raise UserError(f"{options.runs} has no run of the paper's questions; `scaling-lab reproduce` lists them")
    for asked in chosen:
        if not fresh[asked.run] and not is_kept(asked, results):
            raise UserError(f"neither {options.runs} nor {results} has a run {asked.run}; `{asked.command}` makes it")
    # Reports that set a run beside another change with that other.
    changed = {each.run for each in chosen}
    chosen += [each for each in _all() if each.beside in changed and each.run not in changed and is_kept(each, results)]
    for asked in sorted(chosen, key=lambda each: bool(each.beside)):
        run = options.runs / asked.run if fresh[asked.run] else results / asked.run
        why = why_unfinished(run)
        if why and not options.names:
            _say(options, f"{run}: not kept, {why}")
            continue
        _say(options, f"{keep(run, asked, results)}: kept{'' if fresh[asked.run] else ', its report made anew'}")
    rows = write_answers(results)
    print(json.dumps(rows, indent=1)) if options.json else _say(options, f"{results / 'answers.csv'}: written")
    return 0


def _confirm(options: argparse.Namespace) -> int:
    """Compare what the code of each kept run and the present one give, where the code has changed."""
    from scaling_lab.results.confirmation import confirm
    from scaling_lab.results.staleness import code_problems
    from scaling_lab.runs.reader import Runs

    results = _results(options)
    found: dict[str, Any] = {}
    for asked in _chosen(options.names, results):
        if not code_problems(Runs(results / asked.run)):
            _say(options, f"{asked.run}: the code is the one that it ran with, or is confirmed already")
            continue
        try:
            found[asked.run] = confirm(results / asked.run, report=lambda text: _say(options, text))
            _say(options, f"{asked.run}: the same numbers; noted in {results / asked.run}")
        except UserError as error:
            found[asked.run] = {"error": str(error)}
            _say(options, f"{asked.run}: {error}")
    if options.json:
        print(json.dumps(found, indent=1))
    return int(any("error" in each for each in found.values()))


def _table(options: argparse.Namespace) -> int:
    from scaling_lab.results.table import as_markdown, read_answers

    rows = [row for _, row in sorted(read_answers(_results(options)).items())]
    print(json.dumps(rows, indent=1) if options.json else as_markdown(rows), end="")
    return 0


def _results(options: argparse.Namespace) -> Path:
    from scaling_lab.results.kept import results_folder

    return Path(options.results) if options.results is not None else results_folder()


def _all() -> list[Asked]:
    return [asked for question in QUESTIONS for asked in question.asked]


def _named(names: list[str]) -> list[Asked]:
    known = {each.run: each for each in _all()}
    for name in names:
        if name not in known:
            raise UserError(f"{name!r} is no run of the paper's questions; allowed are {', '.join(known)}")
    return [known[name] for name in names]


def _chosen(names: list[str], results: Path) -> list[Asked]:
    """Give the kept runs of these names, or all."""
    from scaling_lab.results.kept import is_kept

    kept = [each for each in _all() if is_kept(each, results)]
    if not names:
        return kept
    missing = [each.run for each in _named(names) if each not in kept]
    if missing:
        raise UserError(f"{results} holds no {missing[0]}; kept are {', '.join(each.run for each in kept) or 'none'}")
    return _named(names)


def _say(options: argparse.Namespace, text: str) -> None:
    if not options.json:
        print(text, flush=True)


_WHAT: dict[str, Callable[[argparse.Namespace], int]] = {
    "questions": _questions,
    "check": _check,
    "keep": _keep,
    "confirm": _confirm,
    "table": _table,
    "costs": _costs,
}
