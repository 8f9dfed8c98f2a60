"""The error that a user can mend. Not for our own mistakes: those stay assertions and tracebacks."""

from __future__ import annotations


class UserError(ValueError):
    """Say in one line what is wrong: the thing, its value and what is allowed. The command line prints it and exits with 2."""


def first_line(error: BaseException) -> str:
    """Give an error's first line that says something, or its kind."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
