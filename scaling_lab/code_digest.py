"""What the code is that makes a detector's numbers: one digest of it, whatever its comments and layout. It runs none of it."""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path

# What decides an AP or a cost. The study engine and the reports do not: they choose what is trained, and show it.
PACKAGES = ("architecture", "cost", "data", "detection", "model", "training")


@functools.cache
def code_digest() -> str:
    """Give the digest of these packages' sources, 12 digits; comments, docstrings and formatting do not change it."""
    home = Path(__file__).parent
    whole = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((home / package).rglob("*.py")):
            whole.update(f"{path.relative_to(home).as_posix()}\n{_plain(path.read_text(encoding='utf-8'))}\n".encode())
    return whole.hexdigest()[:12]


def _plain(source: str) -> str:
    """Give a module's syntax tree as text, without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return _written(tree)


def _written(node: object) -> str:
    """Write a part of a tree. Not by ast.dump or ast.unparse, which differ between versions of Python."""
    if isinstance(node, ast.AST):
        # What is empty is left out: newer versions have fields that older ones lack.
        fields = {
            name: value for name in sorted(node._fields) if (value := getattr(node, name, None)) not in (None, [])
        }
        return f"{type(node).__name__}({' '.join(f'{name}={_written(value)}' for name, value in fields.items())})"
    if isinstance(node, list):
        return f"[{' '.join(_written(each) for each in node)}]"
    return repr(node)
