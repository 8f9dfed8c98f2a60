"""What a spec costs: parameters, multiply-adds, memory, before it is built. Importing this imports no torch."""

from __future__ import annotations

from scaling_lab.cost.counts import Cost, PartCost, count

__all__ = ["Cost", "PartCost", "count"]
