"""What a spec costs: parameters, multiply-adds, memory, before it is built. Importing this imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaling_lab.cost.counts import Cost, PartCost

if TYPE_CHECKING:
    from scaling_lab.architecture.spec import DetectorSpec

__all__ = ["Cost", "PartCost", "count"]


def count(spec: DetectorSpec) -> Cost:
    """Count a spec at its own image size, without running it: its modules see shapes alone.

    Multiply-adds are those of convolutions and matrix products, counted as one each (torch's own counter says two). A module
    is counted once for each form that it takes, so that the first spec with a backbone takes seconds and the next ones
    less than a millisecond. Raises UserError for a backbone that timm does not know or that lacks the spec's levels.
    """
    from scaling_lab.cost.counting import count_spec

    return count_spec(spec)
