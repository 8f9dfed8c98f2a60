"""An atomic group of changes of a SQLite database."""

from __future__ import annotations

import sqlite3


class Transaction:
    """One transaction, or part of an enclosing one. An interrupt rolls it back."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._outer = self._connection.in_transaction
        if not self._outer:
            self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._outer:
            self._connection.execute("COMMIT" if kind is None else "ROLLBACK")
