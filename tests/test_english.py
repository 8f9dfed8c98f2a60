"""The English of the package's docstrings: at most 25 words a sentence, and no phrase of the list below.

A sentence ends at `.`, `!`, `?` or `:`, at an empty line, and before a list item. Backquoted text counts as one word. Text in
brackets and indented blocks (code, tables, drawings) do not count.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import scaling_lab

PACKAGE = Path(scaling_lab.__file__).parent
EXCEPTIONS: tuple[str, ...] = ()
MOST_WORDS = 25
# Literal translations and archaic wording; most have a standard term, such as "training runs" or "outliers".
PHRASES = re.compile(
    r"\b(told apart|dear|dearer|dearest|trainings|draws of the mean|drawn in|disturbs?|pairs not|has met|says nothing|"
    r"how far it carries|whom|that which|judges nothing|takes no time|so many|so much as|as such|nobody|all the same|"
    r"time and again|nor is|be it|mend|mended)\b",
    re.IGNORECASE,
)


@cache
def _docstrings() -> list[tuple[str, str]]:
    """Return place ("file:line") and text of every checked docstring, with "code" for backquoted text."""
    paths = [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] not in EXCEPTIONS]
    return [
        (f"{path.relative_to(PACKAGE)}:{node.body[0].lineno}", re.sub(r"`[^`]*`", "code", text))
        for path in paths
        for node in _definitions(ast.parse(path.read_text(encoding="utf-8")))
        if (text := ast.get_docstring(node))
    ]


def _definitions(node: ast.AST) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef]:
    """Yield a module, and the classes and functions in it."""
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
        yield node
        for each in node.body:
            yield from _definitions(each)


def _sentences(text: str) -> list[str]:
    lines = ["" if line.startswith("  ") else line for line in text.splitlines()]
    found = []
    for paragraph in re.split(r"\n\s*\n|\n(?=- )", "\n".join(lines)):
        words = " ".join(paragraph.split())
        while (shorter := re.sub(r" ?\([^()]*\)", "", words)) != words:
            words = shorter
        found += [each for each in re.split(r"(?<=[.!?:]) ", words) if each]
    return found


def test_a_sentence_has_at_most_25_words() -> None:
    found = [(place, each) for place, text in _docstrings() for each in _sentences(text)]
    assert len(found) > 2000
    assert [f"{place}: {each}" for place, each in found if len(each.split()) > MOST_WORDS] == []


def test_no_docstring_has_a_listed_phrase() -> None:
    found = [(place, PHRASES.search(" ".join(text.split()))) for place, text in _docstrings()]
    assert [f"{place}: {match.group()}" for place, match in found if match] == []


def test_code_brackets_and_blocks_do_not_count() -> None:
    text = "One code two (three, (four)): five.\n\n    a block\n\n- six\n- seven! Eight"
    assert _sentences(text) == ["One code two:", "five.", "- six", "- seven!", "Eight"]
