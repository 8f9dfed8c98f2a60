"""Parameters, multiply-adds and memory of a spec. The numbers come from counting.py, which needs torch; these are values."""

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
    """The whole detector's cost, and each part's.

    `memory` is the most bytes of tensors that are alive at once while one float32 image passes through the network, without
    gradients: weights, the image and activations. A device needs more: torch itself, what operators need inside themselves,
    and what its allocator keeps.
    """

    memory: int
    backbone: PartCost
    feature_network: PartCost
    heads: PartCost

    @property
    def memory_mb(self) -> float:
        """The memory / 1e6."""
        return self.memory / 1e6

    @property
    def parts(self) -> dict[str, PartCost]:
        """The parts by name."""
        return {name: getattr(self, name) for name in PARTS}

    def to_dict(self) -> dict[str, Any]:
        """Give plain JSON values: params, gmacs and memory_mb, and the first two under "parts" by name."""
        parts = {name: {"params": part.params, "gmacs": part.gmacs} for name, part in self.parts.items()}
        return {"params": self.params, "gmacs": self.gmacs, "memory_mb": self.memory_mb, "parts": parts}


def count(spec: DetectorSpec) -> Cost:
    """Count a spec at its own image size, without running it: its modules see shapes alone.

    Multiply-adds are those of convolutions and matrix products, counted as one each (torch's own counter says two). Raises
    UserError for a backbone that timm does not know or that lacks the spec's levels.
    """
    from scaling_lab.cost.counting import count_backbone, count_feature_network, count_heads
    from scaling_lab.cost.memory import inference_memory

    (backbone, backbone_memory), features = count_backbone(spec)
    feature_network, network_memory = count_feature_network(spec, features)
    (classes, classes_memory), (boxes, boxes_memory) = count_heads(spec, features)
    heads = PartCost(params=classes.params + boxes.params, macs=classes.macs + boxes.macs)
    parts = (backbone, feature_network, heads)
    image = 4 * 3 * spec.image_size[0] * spec.image_size[1]
    return Cost(
        params=sum(part.params for part in parts),
        macs=sum(part.macs for part in parts),
        memory=inference_memory(image, backbone_memory, network_memory, (classes_memory, boxes_memory)),
        backbone=backbone,
        feature_network=feature_network,
        heads=heads,
    )
