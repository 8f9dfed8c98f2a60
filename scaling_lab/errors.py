"""The error that a user can mend. Not for our own mistakes: those stay assertions and tracebacks."""

from __future__ import annotations


class UserError(ValueError):
    """Say in one line what is wrong: the thing, its value and what is allowed. The command line prints it and exits with 2."""


def printable(text: str, *, most: int | None = None) -> str:
    """Give a text from a file as one line that can be printed: line ends, control signs and halves of signs are escaped.

    What is longer than `most` characters is cut, with an ellipsis.
    """
    cut = text if most is None else text[:most]
    escaped = "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in cut)
    return escaped + "…" * (len(cut) < len(text))


def first_line(error: BaseException) -> str:
    """Give an error's first line that says something, or its kind."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
