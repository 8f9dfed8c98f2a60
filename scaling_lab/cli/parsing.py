"""What all verbs have: a help text with examples, and --json."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def add_verb(
    verbs: Any, name: str, run: Callable[[argparse.Namespace], int | None], text: str, *examples: str
) -> argparse.ArgumentParser:
    """Add a verb that calls `run`; each example is a command line without the program's name."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=text,
        description=text,
        epilog="\n".join(["examples:", *(f"  scaling-lab {example}" for example in examples)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(verb=run)
    parser.add_argument("--json", action="store_true", help="print JSON for a program to read")
    return parser
