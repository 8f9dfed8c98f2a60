"""Parameters, multiply-adds, activations and memory of a spec, as plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass

PARTS = ("backbone", "feature_network", "heads")


@dataclass(frozen=True, kw_only=True)
class PartCost:
    """Parameters; for one image, multiply-adds of convolutions and matrix products, and the size of their outputs."""

    params: int
    macs: int
    activations: int

    @property
    def gmacs(self) -> float:
        """Multiply-adds / 1e9: the papers' FLOPs."""
        return self.macs / 1e9

    @property
    def params_m(self) -> float:
        """Parameters / 1e6."""
        return self.params / 1e6

    @property
    def activations_m(self) -> float:
        """Activations / 1e6, as defined in arXiv:2003.13678."""
        return self.activations / 1e6

    def numbers(self) -> dict[str, int]:
        """Return the three numbers by name."""
        return {"params": self.params, "macs": self.macs, "activations": self.activations}

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values: params, gmacs and activations."""
        return {"params": self.params, "gmacs": self.gmacs, "activations": self.activations}


@dataclass(frozen=True, kw_only=True)
class LevelCost(PartCost):
    """A piece of the detector at one level.

    `kind` is "node", "level" (makes a level that the backbone lacks), "output" (projects a cell's output to the width), or
    "heads" (convolutions and norms of both). The heads' convolutions are shared by all levels, so their parameters belong
    to no level.
    """

    level: int
    kind: str


@dataclass(frozen=True, kw_only=True)
class Cost(PartCost):
    """The whole detector's cost, each part's, and those of its `pieces` except the backbone, in order of execution.

    `memory` is the peak number of bytes of tensors while one float32 image passes through the network, without gradients:
    weights, image and activations. `activation_memory` excludes weights. A device needs more: torch itself, workspaces of
    operators, and the allocator's cache.
    """

    memory: int
    activation_memory: int
    backbone: PartCost
    feature_network: PartCost
    heads: PartCost
    pieces: tuple[LevelCost, ...] = ()

    @property
    def memory_mb(self) -> float:
        """The memory / 1e6."""
        return self.memory / 1e6

    @property
    def activation_memory_mb(self) -> float:
        """The activations' memory / 1e6."""
        return self.activation_memory / 1e6

    @property
    def parts(self) -> dict[str, PartCost]:
        """The parts by name."""
        return {name: getattr(self, name) for name in PARTS}

    @property
    def nodes(self) -> tuple[LevelCost, ...]:
        """The costs of all nodes, in the order of `spec.topology.repeated(spec.repeats).nodes`."""
        return tuple(piece for piece in self.pieces if piece.kind == "node")

    @property
    def levels(self) -> dict[int, PartCost]:
        """The costs of each level: all pieces of feature network and heads."""
        levels = sorted({piece.level for piece in self.pieces})
        return {level: total(piece for piece in self.pieces if piece.level == level) for level in levels}

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values: params, gmacs, activations, memory_mb, and the first three by part and level."""
        return {
            **super().to_dict(),
            "memory_mb": self.memory_mb,
            "activation_memory_mb": self.activation_memory_mb,
            "parts": {name: part.to_dict() for name, part in self.parts.items()},
            "levels": {f"P{level}": cost.to_dict() for level, cost in self.levels.items()},
        }


def total(parts: Iterable[PartCost]) -> PartCost:
    """Add costs."""
    parts = list(parts)
    return PartCost(
        params=sum(part.params for part in parts),
        macs=sum(part.macs for part in parts),
        activations=sum(part.activations for part in parts),
    )
