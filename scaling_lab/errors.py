"""Errors that a user can fix; bugs remain assertions and tracebacks."""

from __future__ import annotations


class UserError(ValueError):
    """A one-line error: the thing, its value and what is allowed. The command line prints it and exits with code 2."""


def printable(text: str, *, most: int | None = None) -> str:
    """Return a text from a file as one printable line: line ends, control characters and surrogates are escaped.

    Text longer than `most` characters is cut, with an ellipsis.
    """
    cut = text if most is None else text[:most]
    escaped = "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in cut)
    return escaped + "…" * (len(cut) < len(text))


def first_line(error: BaseException) -> str:
    """Return an error's first non-empty line, or its type."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
