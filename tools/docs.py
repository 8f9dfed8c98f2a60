"""What the documentation's site needs before it is built: two pages generated from the code, and the stored reports' pages.

python tools/docs.py            write docs/commands.md, docs/reference/sections.md and docs/stored/; `make docs` does
"""

from __future__ import annotations

import argparse
import ast
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from scaling_lab.cli import _parser

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "docs" / "stored"

_COMMANDS = """# Commands

`scaling-lab VERB --help` prints the same text. This page is generated from the argument parser by `make docs`.

Every verb takes `--json`. The exit code is 0 for success, 2 for wrong input, 130 after Ctrl-C.
"""


_SECTIONS = """# Sections of reports

What a page is made of: functions of `scaling_lab.report.sections`. `runs` is the run, `frontier` is what `compute_frontier(runs)`
gives. This page is generated from the docstrings by `make docs`.
"""


def commands_page() -> str:
    """Write the page of all verbs: what each does, its arguments and its examples."""
    (verbs,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    names = {choice.dest: str(choice.help) for choice in verbs._choices_actions}
    index = [f"| [`{name}`](#{name}) | {_sentence(text)} |" for name, text in names.items()]
    table = ["| verb | what it does |", "| --- | --- |", *index]
    return "\n".join([_COMMANDS, *table, "", *(_verb(name, verbs.choices[name]) for name in names)])


def _verb(name: str, parser: argparse.ArgumentParser) -> str:
    lines = [f"## {name}", "", f"{_sentence(str(parser.description))}.", ""]
    own, *groups = [group for group in parser._action_groups if group.title != "options"]
    options = next(group for group in parser._action_groups if group.title == "options")
    lines += _table([*own._group_actions, *options._group_actions])
    for group in groups:
        lines += [f"{str(group.title).capitalize()}: {group.description}.", "", *_table(group._group_actions)]
    examples = [line.strip() for line in str(parser.epilog).splitlines()[1:]]
    return "\n".join([*lines, "```console", *(f"$ {example}" for example in examples), "```", ""])


def _table(actions: list[argparse.Action]) -> list[str]:
    rows = [f"| {_names(action)} | {_cell(str(action.help))} |" for action in actions if action.dest != "help"]
    return ["| argument | meaning |", "| --- | --- |", *rows, ""]


def _names(action: argparse.Action) -> str:
    """Name an argument as a user writes it, with what follows it."""
    value = ""
    if action.nargs != 0:
        one = f"{{{','.join(map(str, action.choices))}}}" if action.choices else action.metavar or action.dest.upper()
        value = f"{one} …" if action.nargs in ("*", "+") else str(one)
    if not action.option_strings:
        return _code(value if action.choices or action.metavar else value.lower())
    return ", ".join(_code(f"{option} {value}".strip()) for option in action.option_strings)


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _cell(text: str) -> str:
    """Write plain text as Markdown; what stands between backticks stays code."""
    parts = text.replace("%%", "%").replace("|", "\\|").split("`")
    return "`".join(part if place % 2 else re.sub(r"([<\[*])", r"\\\1", part) for place, part in enumerate(parts))


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def sections_page() -> str:
    """Write the page of all functions that give a report's Section: how each is called and what it shows."""
    rows = []
    for path in sorted((ROOT / "scaling_lab" / "report" / "sections").glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.returns and ast.unparse(node.returns) == "Section":
                arguments = ", ".join(each.arg for each in (*node.args.args, *node.args.kwonlyargs))
                text = str(ast.get_docstring(node)).split("\n\n")[0].replace("\n", " ")
                rows.append(f"| `{path.stem}.{node.name}({arguments})` | {_cell(text)} |")
    return "\n".join([_SECTIONS, "| section | what it shows |", "| --- | --- |", *rows, ""])


def copy_stored_pages() -> None:
    """Copy the page of every stored run to docs/stored/<run>.html, which docs/results.md links to."""
    shutil.rmtree(STORED, ignore_errors=True)
    STORED.mkdir()
    for run in sorted((ROOT / "reports" / "results").iterdir()):
        for page in run.glob("*.html"):
            shutil.copyfile(page, STORED / f"{run.name}.html")


PAGES: dict[str, Callable[[], str]] = {
    "docs/commands.md": commands_page,
    "docs/reference/sections.md": sections_page,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (ROOT / name).write_text(page(), encoding="utf-8")
    copy_stored_pages()
