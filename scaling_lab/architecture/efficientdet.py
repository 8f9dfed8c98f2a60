"""The released EfficientDets, D0 to D7x and lite0 to lite4, as specs, and their differences from the paper's rule.

Source of every row: google/automl, efficientdet/hparams_config.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from scaling_lab.architecture.compound_scaling import CompoundScaling
from scaling_lab.architecture.spec import Anchors, DetectorSpec, Pixels
from scaling_lab.architecture.topologies import bifpn
from scaling_lab.errors import UserError


@dataclass(frozen=True, kw_only=True)
class _Released:
    backbone: str
    image_size: int
    width: int
    repeats: int
    heads: int
    scale: float = 4.0
    fusion: str = "fast"
    max_level: int = 7
    activation: str = "silu"


def _lite(name: str, image_size: int, width: int, repeats: int, heads: int, scale: float) -> _Released:
    backbone = f"tf_efficientnet_{name}"
    sizes = {"image_size": image_size, "width": width, "repeats": repeats, "heads": heads}
    return _Released(backbone=backbone, scale=scale, fusion="sum", activation="relu6", **sizes)


_RELEASED = {
    "d0": _Released(backbone="tf_efficientnet_b0", image_size=512, width=64, repeats=3, heads=3),
    "d1": _Released(backbone="tf_efficientnet_b1", image_size=640, width=88, repeats=4, heads=3),
    "d2": _Released(backbone="tf_efficientnet_b2", image_size=768, width=112, repeats=5, heads=3),
    "d3": _Released(backbone="tf_efficientnet_b3", image_size=896, width=160, repeats=6, heads=4),
    "d4": _Released(backbone="tf_efficientnet_b4", image_size=1024, width=224, repeats=7, heads=4),
    "d5": _Released(backbone="tf_efficientnet_b5", image_size=1280, width=288, repeats=7, heads=4),
    "d6": _Released(backbone="tf_efficientnet_b6", image_size=1280, width=384, repeats=8, heads=5, fusion="sum"),
    "d7": _Released(
        backbone="tf_efficientnet_b6", image_size=1536, width=384, repeats=8, heads=5, fusion="sum", scale=5.0
    ),
    "d7x": _Released(
        backbone="tf_efficientnet_b7", image_size=1536, width=384, repeats=8, heads=5, fusion="sum", max_level=8
    ),
    "lite0": _lite("lite0", 320, 64, 3, 3, 3.0),
    "lite1": _lite("lite1", 384, 88, 4, 3, 3.0),
    "lite2": _lite("lite2", 448, 112, 5, 3, 3.0),
    "lite3": _lite("lite3", 512, 160, 6, 4, 4.0),
    "lite3x": _lite("lite3", 640, 200, 6, 4, 3.0),
    "lite4": _lite("lite4", 640, 224, 7, 4, 4.0),
}
NAMES = tuple(_RELEASED)
# google/automl, hparams_config.py: mean_rgb 127, stddev_rgb 128.
LITE_PIXELS = Pixels(mean=(127 / 255,) * 3, std=(128 / 255,) * 3)


def efficientdet(name: str) -> DetectorSpec:
    """Return a released model's spec by its short name, such as "d0". Raises UserError with the known names."""
    if name not in NAMES:
        raise UserError(f"efficientdet {name!r} is unknown; allowed are {', '.join(NAMES)}")
    row = _RELEASED[name]
    return DetectorSpec(
        backbone=row.backbone,
        topology=bifpn(3, row.max_level, fusion=row.fusion),
        width=row.width,
        repeats=row.repeats,
        head_repeats=row.heads,
        image_size=(row.image_size, row.image_size),
        anchors=Anchors(scale=row.scale),
        activation=row.activation,
        pixels=LITE_PIXELS if name.startswith("lite") else Pixels(),
    )


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One field in which a released model differs from the rule."""

    model: str
    field: str
    rule: object
    rule_exact: float | None
    released: object


def differences(rule: CompoundScaling | None = None) -> list[Difference]:
    """Return the differences of D0 to D7 from a rule (default: the paper's) at phi = 0 … 7, in the order of the models.

    The lite models and D7x follow no phi of the rule and are not compared.
    """
    rule = rule or CompoundScaling()
    found = []
    for phi in range(8):
        expected, released, exact = rule.spec(phi), efficientdet(f"d{phi}"), rule.exact(phi)
        for name in ("backbone", "width", "repeats", "head_repeats", "image_size", "topology", "anchors"):
            ruled, shipped = getattr(expected, name), getattr(released, name)
            if name == "topology":
                ruled, shipped = ruled.describe(), shipped.describe()
            if name == "anchors":
                ruled, shipped = ruled.scale, shipped.scale
            if ruled != shipped:
                found.append(
                    Difference(model=f"d{phi}", field=name, rule=ruled, rule_exact=exact.get(name), released=shipped)
                )
    return found
