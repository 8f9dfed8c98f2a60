"""The costs of a spec: parameters, multiply-adds and memory. Importing this package does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaling_lab.cost.counts import Cost, PartCost

if TYPE_CHECKING:
    from scaling_lab.architecture.spec import DetectorSpec

__all__ = ["Cost", "PartCost", "count"]


def count(spec: DetectorSpec) -> Cost:
    """Return the cost of a spec at its own image size, without running it: its modules see only shapes.

    Multiply-adds of convolutions and matrix products count as one each (torch's own counter counts two). The first two image
    sizes of a backbone take about a second. Later specs take less than a millisecond, whatever their width, image size and
    topology. A backbone that cost/backbone_counts.py finds no formula for takes that second at every image size.

    Raises UserError for a backbone unknown to timm or without the spec's levels.
    """
    from scaling_lab.cost.counting import count_spec

    return count_spec(spec)
