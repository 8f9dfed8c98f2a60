"""Small things that every part of a report does with a DataFrame. It knows no column by name."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from scaling_lab.errors import UserError


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows as dictionaries. What is missing is None in a column of texts, NaN in one of numbers."""
    texts = [name for name in table.columns.unique() if _is_of_texts(table[name])]
    whole = table.assign(**{name: table[name].astype(object).where(table[name].notna(), None) for name in texts})
    return [{str(key): value for key, value in row.items()} for row in whole.to_dict("records")]


def _is_of_texts(column: pd.Series[Any]) -> bool:
    return bool(pd.api.types.infer_dtype(column, skipna=True) == "string")


def is_missing(value: object) -> bool:
    """Say whether a cell holds nothing, in whichever of pandas' ways."""
    return value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def require(table: pd.DataFrame, *names: str, source: str) -> None:
    """Raise UserError where a table lacks what a figure draws; `source` says which function's table has it."""
    missing = [name for name in names if name not in table]
    if missing:
        needed = f"this figure draws {', '.join(names)}, and {source} has them"
        raise UserError(f"the table has no column {', '.join(missing)}; {needed}")
    if table.empty:
        raise UserError("the table has no rows, so there is nothing to draw")


def mean(values: pd.Series[Any]) -> float:
    """Average what is there; nan where nothing is."""
    present = pd.to_numeric(values).dropna()
    return float(present.mean()) if len(present) else math.nan


def has_values(table: pd.DataFrame, name: str) -> bool:
    """Say whether a table has a column with anything in it."""
    return name in table and bool(table[name].notna().any())
