"""What a spec costs: parameters and multiply-adds before it is trained, latency on a device. Importing this imports no torch."""

from __future__ import annotations

from scaling_lab.cost.counts import Cost, PartCost, count

__all__ = ["Cost", "PartCost", "count"]
