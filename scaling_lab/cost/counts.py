"""Parameters and multiply-adds of a spec, by part. The numbers come from counting.py, which needs torch; these are values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scaling_lab.architecture.spec import DetectorSpec

PARTS = ("backbone", "feature_network", "heads")


@dataclass(frozen=True, kw_only=True)
class PartCost:
    """Parameters, and multiply-adds of convolutions and matrix products for one image."""

    params: int
    macs: int

    @property
    def gmacs(self) -> float:
        """Multiply-adds / 1e9: what the papers call FLOPs."""
        return self.macs / 1e9

    @property
    def params_m(self) -> float:
        """Parameters / 1e6."""
        return self.params / 1e6


@dataclass(frozen=True, kw_only=True)
class Cost(PartCost):
    """The whole detector's cost, and each part's."""

    backbone: PartCost
    feature_network: PartCost
    heads: PartCost

    @property
    def parts(self) -> dict[str, PartCost]:
        """The parts by name."""
        return {name: getattr(self, name) for name in PARTS}

    def to_dict(self) -> dict[str, Any]:
        """Give plain JSON values: params, gmacs, and the same under "parts" by name."""
        parts = {name: {"params": part.params, "gmacs": part.gmacs} for name, part in self.parts.items()}
        return {"params": self.params, "gmacs": self.gmacs, "parts": parts}


def count(spec: DetectorSpec) -> Cost:
    """Count a spec at its own image size, without running it: its modules see shapes alone.

    Multiply-adds are those of convolutions and matrix products, counted as one each (torch's own counter says two). Raises
    UserError for a backbone that timm does not know or that lacks the spec's levels.
    """
    from scaling_lab.cost.counting import count_backbone, count_feature_network, count_heads

    backbone, features = count_backbone(spec)
    feature_network = count_feature_network(spec, features)
    heads = count_heads(spec, features)
    parts = (backbone, feature_network, heads)
    return Cost(
        params=sum(part.params for part in parts),
        macs=sum(part.macs for part in parts),
        backbone=backbone,
        feature_network=feature_network,
        heads=heads,
    )
