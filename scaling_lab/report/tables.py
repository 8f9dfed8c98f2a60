"""Helpers for DataFrames that all parts of a report use."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from scaling_lab.errors import UserError


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows as dictionaries; a missing value is None in a text column, NaN in a numeric one."""
    texts = [name for name in table.columns.unique() if _is_of_texts(table[name])]
    whole = table.assign(**{name: table[name].astype(object).where(table[name].notna(), None) for name in texts})
    return [{str(key): value for key, value in row.items()} for row in whole.to_dict("records")]


def _is_of_texts(column: pd.Series[Any]) -> bool:
    return bool(pd.api.types.infer_dtype(column, skipna=True) == "string")


def is_missing(value: object) -> bool:
    """Return whether a cell is missing by any of pandas' conventions."""
    return value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def require(table: pd.DataFrame, *names: str, source: str) -> None:
    """Raise UserError if a table lacks columns that a figure draws; `source` names the function whose table has them."""
    missing = [name for name in names if name not in table]
    if missing:
        needed = f"this figure draws {', '.join(names)}, and {source} has them"
        raise UserError(f"the table has no column {', '.join(missing)}; {needed}")
    if table.empty:
        raise UserError("the table has no rows, so there is nothing to draw")


def mean(values: pd.Series[Any]) -> float:
    """Return the mean of the present values; nan if there are none."""
    present = pd.to_numeric(values).dropna()
    return float(present.mean()) if len(present) else math.nan


def has_values(table: pd.DataFrame, name: str) -> bool:
    """Return whether a table has a column with any value."""
    return name in table and bool(table[name].notna().any())
