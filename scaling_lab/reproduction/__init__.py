"""The paper's tables beside what this package finds. So far the costs, which need no training; importing it imports no torch."""

from scaling_lab.reproduction.costs import cost_tables
from scaling_lab.reproduction.table import Column, Table, as_text

__all__ = ["Column", "Table", "as_text", "cost_tables"]
