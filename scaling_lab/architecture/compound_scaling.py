"""The compound-scaling rule as a value: one coefficient phi, any real number, gives a detector. It holds no released model.

Source: arXiv:1911.09070v7, section 4, equations 1 to 3.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.architecture.topologies.bifpn import bifpn
from scaling_lab.errors import UserError

DIMENSIONS = ("backbone", "width", "depth", "heads", "image_size")
ROUNDINGS: dict[str, Callable[[float], float]] = {
    "nearest": lambda x: math.floor(x + 0.5),
    "down": math.floor,
    "up": math.ceil,
}
EFFICIENTNETS = tuple(f"tf_efficientnet_b{index}" for index in range(8))

# phi = 0 of the paper, which is D0.
PAPER_BASE = DetectorSpec(
    backbone=EFFICIENTNETS[0], topology=bifpn(3, 7), width=64, repeats=3, head_repeats=3, image_size=(512, 512)
)


@dataclass(frozen=True, kw_only=True)
class CompoundScaling:
    """Scale the detector `base`, which phi = 0 gives, in every dimension by phi.

        width        = base width * width_factor**phi, to the nearest multiple of `width_multiple`          (equation 1)
        repeats      = base repeats + repeats_slope * phi, by `repeats_rounding`                            (equation 1)
        head repeats = base head repeats + head_repeats_slope * phi, by `head_rounding`                     (equation 2)
        image size   = base image size + image_size_slope * phi, to a multiple of `image_size_multiple`     (equation 3)
        backbone     = the one of `backbones` nearest to phi; below the first and above the last, those

    The slope of the image size is that of its longer side, the other keeps its proportion. Dimensions that `scaled` leaves
    out stay as they are in `base`.
    """

    base: DetectorSpec = PAPER_BASE
    width_factor: float = 1.35
    width_multiple: int = 8
    repeats_slope: float = 1
    repeats_rounding: str = "nearest"
    head_repeats_slope: float = 1 / 3
    head_rounding: str = "down"
    image_size_slope: float = 128
    image_size_multiple: int = 1
    backbones: tuple[str, ...] = EFFICIENTNETS
    scaled: tuple[str, ...] = DIMENSIONS

    def __post_init__(self) -> None:
        for name in ("width_factor", "width_multiple", "image_size_multiple"):
            if not getattr(self, name) > 0:
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
        """Give the rule's numbers at phi before any rounding; image_size is the longer side's."""
        at = {dimension: phi if dimension in self.scaled else 0.0 for dimension in DIMENSIONS}
        return {
            "width": self.base.width * self.width_factor ** at["width"],
            "repeats": self.base.repeats + self.repeats_slope * at["depth"],
            "head_repeats": self.base.head_repeats + self.head_repeats_slope * at["heads"],
            "image_size": max(self.base.image_size) + self.image_size_slope * at["image_size"],
        }

    def spec(self, phi: float) -> DetectorSpec:
        """Give the detector at phi. Raises UserError where phi makes a dimension vanish."""
        if not math.isfinite(phi):
            raise UserError(f"phi is {phi}; allowed are finite numbers")
        exact = self.exact(phi)
        larger = exact["image_size"] / max(self.base.image_size)
        height, width = (_to_multiple(side * larger, self.image_size_multiple) for side in self.base.image_size)
        sizes: dict[str, Any] = {
            "width": _to_multiple(exact["width"], self.width_multiple) if "width" in self.scaled else self.base.width,
            "repeats": _rounded(exact["repeats"], self.repeats_rounding),
            "head_repeats": _rounded(exact["head_repeats"], self.head_rounding),
        }
        for name, value in (*sizes.items(), ("image_size", min(height, width))):
            if value < 1:
                raise UserError(f"phi = {phi} gives {name} = {value}; choose a larger phi, or scale without it")
        place = min(max(_rounded(phi, "nearest"), 0), len(self.backbones) - 1)
        backbone = self.backbones[place] if "backbone" in self.scaled else self.base.backbone
        return dataclasses.replace(self.base, backbone=backbone, image_size=(height, width), **sizes)


def _rounded(value: float, rounding: str) -> int:
    """Round, forgiving the last bits of a sum such as 3 + 3 * (1/3)."""
    return int(ROUNDINGS[rounding](round(value, 9)))


def _to_multiple(value: float, multiple: int) -> int:
    """Round to the nearest multiple, but not to 0."""
    nearest = _rounded(value / multiple, "nearest") * multiple
    return multiple if nearest == 0 and value > 0 else nearest
