"""The error that a user can mend. Not for our own mistakes: those stay assertions and tracebacks."""

from __future__ import annotations


class UserError(ValueError):
    """Say in one line what is wrong: the thing, its value and what is allowed. The command line prints it and exits with 2."""
