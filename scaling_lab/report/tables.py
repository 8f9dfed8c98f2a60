"""Small things that every part of a report does with a DataFrame. It knows no column by name."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Give a table's rows as dictionaries."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def mean(values: pd.Series[Any]) -> float:
    """Average what is there; nan where nothing is."""
    present = pd.to_numeric(values).dropna()
    return float(present.mean()) if len(present) else math.nan


def has_values(table: pd.DataFrame, name: str) -> bool:
    """Say whether a table has a column with anything in it."""
    return name in table and bool(table[name].notna().any())
