"""The paper's questions, published numbers, cost tables, stored answers and their check, without importing torch."""

from scaling_lab.paper.cost_tables import cost_tables
from scaling_lab.paper.side_by_side import Column, Table, as_text

__all__ = ["Column", "Table", "as_text", "cost_tables"]
