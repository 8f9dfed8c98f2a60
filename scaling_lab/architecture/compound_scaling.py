"""The compound-scaling rule as a value: one coefficient phi, any real number, gives a detector. It holds no released model.

Source: arXiv:1911.09070v7, section 4, equations 1 to 3.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

from scaling_lab.architecture.spec import Anchors, DetectorSpec
from scaling_lab.architecture.topologies import bifpn
from scaling_lab.architecture.topology import Topology
from scaling_lab.errors import UserError

DIMENSIONS = ("backbone", "width", "depth", "heads", "image_size")
ROUNDINGS: dict[str, Callable[[float], float]] = {"nearest": lambda x: math.floor(x + 0.5), "down": math.floor, "up": math.ceil}
EFFICIENTNETS = tuple(f"tf_efficientnet_b{index}" for index in range(8))


@dataclass(frozen=True, kw_only=True)
class CompoundScaling:
    """Scale every dimension by phi.

        width      = base_width * width_factor**phi, to the nearest multiple of `width_multiple`      (equation 1)
        repeats    = base_repeats + repeats_slope * phi                                                (equation 1)
        heads      = base_head_repeats + head_repeats_slope * phi, by `head_rounding`                  (equation 2)
        image size = base_image_size + image_size_slope * phi, to the nearest multiple of `image_size_multiple`  (equation 3)
        backbone   = the one in `backbones` nearest to phi; below the first and above the last, those

    Dimensions that `scaled` leaves out stay as they are at phi = 0.
    """

    width_factor: float = 1.35
    base_width: float = 64
    width_multiple: int = 8
    base_repeats: float = 3
    repeats_slope: float = 1
    repeats_rounding: str = "nearest"
    base_head_repeats: float = 3
    head_repeats_slope: float = 1 / 3
    head_rounding: str = "down"
    base_image_size: float = 512
    image_size_slope: float = 128
    image_size_multiple: int = 1
    backbones: tuple[str, ...] = EFFICIENTNETS
    topology: Topology = dataclasses.field(default_factory=bifpn)
    anchors: Anchors = dataclasses.field(default_factory=Anchors)
    num_classes: int = 90
    scaled: tuple[str, ...] = DIMENSIONS

    def __post_init__(self) -> None:
        for name in ("width_factor", "base_width", "width_multiple", "base_image_size", "image_size_multiple"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name} is {getattr(self, name)}; allowed are numbers above 0")
        for name in ("repeats_rounding", "head_rounding"):
            if getattr(self, name) not in ROUNDINGS:
                raise UserError(f"{name} is {getattr(self, name)!r}; allowed are {', '.join(ROUNDINGS)}")
        if not self.backbones:
            raise UserError("backbones is empty; allowed is one name of a timm model or more")
        for dimension in self.scaled:
            if dimension not in DIMENSIONS:
                raise UserError(f"dimension {dimension!r} cannot be scaled; allowed are {', '.join(DIMENSIONS)}")

    def only(self, *dimensions: str) -> CompoundScaling:
        """Scale these dimensions alone, as the paper's Figure 6 compares."""
        return dataclasses.replace(self, scaled=dimensions)

    def exact(self, phi: float) -> dict[str, float]:
        """Give the rule's numbers at phi before any rounding."""
        at = {dimension: phi if dimension in self.scaled else 0.0 for dimension in DIMENSIONS}
        return {
            "width": self.base_width * self.width_factor ** at["width"],
            "repeats": self.base_repeats + self.repeats_slope * at["depth"],
            "head_repeats": self.base_head_repeats + self.head_repeats_slope * at["heads"],
            "image_size": self.base_image_size + self.image_size_slope * at["image_size"],
        }

    def spec(self, phi: float) -> DetectorSpec:
        """Give the detector at phi. Raises UserError where phi makes a dimension vanish."""
        if not math.isfinite(phi):
            raise UserError(f"phi is {phi}; allowed are finite numbers")
        exact = self.exact(phi)
        sizes = {
            "width": _to_multiple(exact["width"], self.width_multiple),
            "repeats": _rounded(exact["repeats"], self.repeats_rounding),
            "head_repeats": _rounded(exact["head_repeats"], self.head_rounding),
            "image_size": _to_multiple(exact["image_size"], self.image_size_multiple),
        }
        for name, value in sizes.items():
            if value < 1:
                raise UserError(f"phi = {phi} gives {name} = {value}; choose a larger phi, or scale without it")
        place = _rounded(phi if "backbone" in self.scaled else 0.0, "nearest")
        backbone = self.backbones[min(max(place, 0), len(self.backbones) - 1)]
        image_size = (sizes.pop("image_size"),) * 2
        return DetectorSpec(
            backbone=backbone,
            topology=self.topology,
            image_size=image_size,
            num_classes=self.num_classes,
            anchors=self.anchors,
            **sizes,
        )


def _rounded(value: float, rounding: str) -> int:
    """Round, forgiving the last bits of a sum such as 3 + 3 * (1/3)."""
    return int(ROUNDINGS[rounding](round(value, 9)))


def _to_multiple(value: float, multiple: int) -> int:
    """Round to the nearest multiple, at least one multiple."""
    return max(multiple, _rounded(value / multiple, "nearest") * multiple)
