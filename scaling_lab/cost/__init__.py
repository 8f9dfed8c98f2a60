"""The costs of a spec: parameters, multiply-adds and memory. Importing this package does not import torch."""

from __future__ import annotations

from scaling_lab.cost.counts import Cost, PartCost, count

__all__ = ["Cost", "PartCost", "count"]
