"""The ways in which a trial fails, each with the kind that the ledger and the report show. Not for mistakes of our own."""

from __future__ import annotations

from scaling_lab.errors import UserError


class Failure(UserError):
    """A trial that ends without a result, for a reason that has a name."""

    kind = "error"


class Diverged(Failure):
    """The loss is not finite."""

    kind = "diverged"


class OutOfMemory(Failure):
    """The device has too little memory."""

    kind = "out_of_memory"
