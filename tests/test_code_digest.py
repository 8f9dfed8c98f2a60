"""The digest of the code that makes numbers: it changes with what is computed, and with nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import scaling_lab
from scaling_lab import code_digest

SOURCE = '''"""A module."""

def area(width):
    """Give an area."""
    return width * width  # a square
'''


def test_only_what_is_computed_counts() -> None:
    told = code_digest._plain(SOURCE)
    reworded = SOURCE.replace("Give an area.", "Give the area of a square.").replace("  # a square", "")
    assert code_digest._plain(reworded.replace("\n\n", "\n\n\n")) == told
    assert code_digest._plain(SOURCE.replace('    """Give an area."""\n', "")) == told
    assert code_digest._plain(SOURCE.replace("width * width", "width * height")) != told
    assert code_digest._plain(SOURCE.replace('"""A module."""', "SCALE = 2")) != told


def test_the_packages_are_there_and_the_digest_is_of_all_of_them(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    home = Path(scaling_lab.__file__).parent
    assert all(list((home / package).glob("*.py")) for package in code_digest.PACKAGES)
    whole = code_digest.code_digest()
    assert len(whole) == 12
    code_digest.code_digest.cache_clear()
    monkeypatch.setattr(code_digest, "PACKAGES", code_digest.PACKAGES[1:])
    assert code_digest.code_digest() != whole
    code_digest.code_digest.cache_clear()


def test_engine_and_reports_are_not_read_by_what_is_digested() -> None:
    """Otherwise a change in them could change a number without changing the digest."""
    home = Path(scaling_lab.__file__).parent
    for package in code_digest.PACKAGES:
        for path in (home / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                module = node.module if isinstance(node, ast.ImportFrom) else None
                assert not (module or "").startswith(("scaling_lab.study", "scaling_lab.report")), path
