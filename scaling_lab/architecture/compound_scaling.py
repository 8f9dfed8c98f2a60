"""The compound-scaling rule as a value: a coefficient phi, any real number, gives a detector.

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
from scaling_lab.checks import Fields, check_choice, check_items, check_number, check_text, check_whole, is_number
from scaling_lab.errors import UserError

DIMENSIONS = ("backbone", "width", "depth", "heads", "image_size")
ROUNDINGS: dict[str, Callable[[float], float]] = {
    "nearest": lambda x: math.floor(x + 0.5),
    "down": math.floor,
    "up": math.ceil,
}
EFFICIENTNETS = tuple(f"tf_efficientnet_b{index}" for index in range(8))

# The paper's detector at phi = 0, D0.
PAPER_BASE = DetectorSpec(
    backbone=EFFICIENTNETS[0], topology=bifpn(3, 7), width=64, repeats=3, head_repeats=3, image_size=(512, 512)
)


@dataclass(frozen=True, kw_only=True)
class CompoundScaling(Fields):
    """A rule that scales the detector `base` (phi = 0) in every dimension by phi.

        width        = base width * width_factor**phi, to the nearest multiple of `width_multiple`          (equation 1)
        repeats      = base repeats + repeats_slope * phi, by `repeats_rounding`                            (equation 1)
        head repeats = base head repeats + head_repeats_slope * phi, by `head_rounding`                     (equation 2)
        image size   = base image size + image_size_slope * phi, to a multiple of `image_size_multiple`     (equation 3)
        backbone     = the one of `backbones` at the nearest index to phi

    The slope of the image size is that of the longer side; the other keeps its ratio. Dimensions that are not in `scaled`
    stay as in `base`.
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
        if not isinstance(self.base, DetectorSpec):
            raise UserError(f"base is {self.base!r}; allowed is a DetectorSpec")
        check_number("width_factor", self.width_factor, above=0)
        for name in ("width_multiple", "image_size_multiple"):
            check_whole(name, getattr(self, name), least=1)
        for name in ("repeats_slope", "head_repeats_slope", "image_size_slope"):
            check_number(name, getattr(self, name))
        for name in ("repeats_rounding", "head_rounding"):
            check_choice(name, getattr(self, name), tuple(ROUNDINGS))
        allowed = "a list of at least one timm model name"
        object.__setattr__(self, "backbones", check_items("backbones", self.backbones, allowed))
        if not self.backbones:
            raise UserError(f"backbones is empty; allowed is {allowed}")
        for backbone in self.backbones:
            check_text("backbones", backbone, allowed)
        allowed = f"a list of {', '.join(DIMENSIONS)}"
        object.__setattr__(self, "scaled", check_items("scaled", self.scaled, allowed))
        for dimension in self.scaled:
            if dimension not in DIMENSIONS:
                raise UserError(f"dimension {dimension!r} cannot be scaled; allowed are {', '.join(DIMENSIONS)}")

    def only(self, *dimensions: str) -> CompoundScaling:
        """Return the rule that scales only these dimensions, as in the paper's Figure 6."""
        return dataclasses.replace(self, scaled=dimensions)

    def exact(self, phi: float) -> dict[str, float]:
        """Return the rule's numbers at phi before rounding; image_size is the longer side's.

        Raises UserError where one exceeds the range of floats.
        """
        check_number("phi", phi)
        at = {dimension: phi if dimension in self.scaled else 0.0 for dimension in DIMENSIONS}
        try:
            growth = self.width_factor ** at["width"]
        except OverflowError:
            growth = math.inf
        exact = {
            "width": self.base.width * growth,
            "repeats": self.base.repeats + self.repeats_slope * at["depth"],
            "head_repeats": self.base.head_repeats + self.head_repeats_slope * at["heads"],
            "image_size": max(self.base.image_size) + self.image_size_slope * at["image_size"],
        }
        for name, value in exact.items():
            if not is_number(value):
                raise UserError(f"phi = {phi} gives {name} = {value}; choose phi closer to 0")
        return exact

    def spec(self, phi: float) -> DetectorSpec:
        """Return the detector at phi. Raises UserError where a dimension vanishes."""
        exact = self.exact(phi)
        larger = exact["image_size"] / max(self.base.image_size)
        height, width = (_to_multiple(side * larger, self.image_size_multiple) for side in self.base.image_size)
        sizes: dict[str, Any] = {
            "width": _to_multiple(exact["width"], self.width_multiple) if "width" in self.scaled else self.base.width,
            "repeats": _rounded(exact["repeats"], self.repeats_rounding),
            "head_repeats": _rounded(exact["head_repeats"], self.head_rounding),
        }
        for name, value in (*sizes.items(), ("image_size", min(height, width))):
            if value < (0 if name == "head_repeats" else 1):
                raise UserError(f"phi = {phi} gives {name} = {value}; choose a larger phi, or scale without it")
        place = min(max(_rounded(phi, "nearest"), 0), len(self.backbones) - 1)
        backbone = self.backbones[place] if "backbone" in self.scaled else self.base.backbone
        return dataclasses.replace(self.base, backbone=backbone, image_size=(height, width), **sizes)


def _rounded(value: float, rounding: str) -> int:
    """Round, tolerating float error in a sum such as 3 + 3 * (1/3)."""
    return int(ROUNDINGS[rounding](round(value, 9)))


def _to_multiple(value: float, multiple: int) -> int:
    """Round to the nearest multiple, but not to 0."""
    nearest = _rounded(value / multiple, "nearest") * multiple
    return multiple if nearest == 0 and value > 0 else nearest
