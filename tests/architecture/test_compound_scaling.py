"""The scaling rule against the paper's equations, and the released models against the rule."""

from __future__ import annotations

import dataclasses
import math

import pytest

from scaling_lab import CompoundScaling, efficientdet
from scaling_lab.architecture.compound_scaling import DIMENSIONS
from scaling_lab.architecture.efficientdet import NAMES, differences
from scaling_lab.errors import UserError


@pytest.mark.parametrize(
    ("phi", "width", "repeats", "heads", "image_size"),
    # arXiv:1911.09070v7, equations 1 to 3, computed by hand: the width before rounding.
    [
        (0, 64.0, 3, 3, 512),
        (1, 86.4, 4, 3, 640),
        (3, 157.464, 6, 4, 896),
        (6, 387.42, 9, 5, 1280),
        (-1, 47.407, 2, 2, 384),
    ],
)
def test_the_papers_equations(phi: int, width: float, repeats: int, heads: int, image_size: int) -> None:
    rule = CompoundScaling()
    assert rule.exact(phi)["width"] == pytest.approx(width, abs=1e-2)
    spec = rule.spec(phi)
    assert (spec.repeats, spec.head_repeats, spec.image_size) == (repeats, heads, (image_size, image_size))
    assert abs(spec.width - width) <= 4
    assert spec.width % 8 == 0


def test_phi_zero_is_d0_and_any_real_phi_works() -> None:
    assert CompoundScaling(width_factor=1.35).spec(0) == efficientdet("d0")
    assert CompoundScaling().spec(0.5).image_size == (576, 576)
    assert CompoundScaling().spec(1.7).backbone == "tf_efficientnet_b2"
    assert CompoundScaling().spec(9).backbone == "tf_efficientnet_b7"


def test_where_the_released_models_leave_the_rule() -> None:
    """efficientdet_facts: W at D2, D4 and D7, depth from D5, resolution at D5 and D7, D7's backbone, fusion and anchors."""
    found = {(row.model, row.field): (row.rule, row.released) for row in differences()}
    assert found == {
        ("d2", "width"): (120, 112),
        ("d4", "width"): (216, 224),
        ("d5", "repeats"): (8, 7),
        ("d5", "image_size"): ((1152, 1152), (1280, 1280)),
        ("d6", "repeats"): (9, 8),
        ("d6", "topology"): ("bifpn P3-P7 fast", "bifpn P3-P7 sum"),
        ("d7", "backbone"): ("tf_efficientnet_b7", "tf_efficientnet_b6"),
        ("d7", "width"): (520, 384),
        ("d7", "repeats"): (10, 8),
        ("d7", "image_size"): ((1408, 1408), (1536, 1536)),
        ("d7", "topology"): ("bifpn P3-P7 fast", "bifpn P3-P7 sum"),
        ("d7", "anchors"): (4.0, 5.0),
    }


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_one_dimension_alone(dimension: str) -> None:
    spec, base = CompoundScaling().only(dimension).spec(3), CompoundScaling().base
    field = {"depth": "repeats", "heads": "head_repeats"}.get(dimension, dimension)
    changed = {f.name for f in dataclasses.fields(spec) if getattr(spec, f.name) != getattr(base, f.name)}
    assert changed == {field}


def test_every_part_of_the_rule_can_be_set() -> None:
    rule = CompoundScaling(
        width_factor=1.2,
        width_multiple=1,
        repeats_slope=0.5,
        repeats_rounding="up",
        head_repeats_slope=1.0,
        head_rounding="up",
        image_size_slope=100,
        image_size_multiple=32,
        backbones=("resnet18", "resnet34"),
    )
    spec = rule.spec(1)
    assert (spec.width, spec.repeats, spec.head_repeats, spec.image_size) == (77, 4, 4, (608, 608))
    assert spec.backbone == "resnet34"
    wide = dataclasses.replace(rule.base, image_size=(256, 512))
    assert dataclasses.replace(rule, base=wide, image_size_multiple=1).spec(1).image_size == (306, 612)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CompoundScaling(width_factor=0), "width_factor is 0; allowed are finite numbers above 0"),
        (lambda: CompoundScaling(head_rounding="floor"), "head_rounding is 'floor'; allowed are nearest, down, up"),
        (lambda: CompoundScaling().only("resolution"), "dimension 'resolution' cannot be scaled; allowed are backbone"),
        (lambda: CompoundScaling(backbones=()), "backbones is empty"),
        (
            lambda: CompoundScaling(backbones="resnet18"),
            "backbones is 'resnet18'; allowed is a list of at least one timm model",
        ),
        (
            lambda: CompoundScaling(backbones=(18,)),
            "backbones is 18; allowed is a list of at least one timm model name",
        ),
        (lambda: CompoundScaling(scaled="width"), "scaled is 'width'; allowed is a list of backbone, width"),
        (lambda: CompoundScaling(base="d0"), "base is 'd0'; allowed is a DetectorSpec"),
        (lambda: CompoundScaling(width_factor="1.3"), "width_factor is '1.3'; allowed are finite numbers above 0"),
        (lambda: CompoundScaling(width_factor=math.inf), "width_factor is inf; allowed are finite numbers above 0"),
        (lambda: CompoundScaling(width_multiple=0.5), "width_multiple is 0.5; allowed are whole numbers from 1"),
        (lambda: CompoundScaling(repeats_slope=None), "repeats_slope is None; allowed are finite numbers"),
        (lambda: CompoundScaling(head_rounding=["up"]), r"head_rounding is \['up'\]; allowed are nearest"),
        (
            lambda: CompoundScaling(widthfactor=3),
            r"CompoundScaling has no field 'widthfactor' \(did you mean 'width_factor'",
        ),
        (lambda: CompoundScaling().spec("x"), "phi is 'x'; allowed are finite numbers"),
        (lambda: CompoundScaling().spec(True), "phi is True; allowed are finite numbers"),
        (lambda: CompoundScaling().spec(2360), "phi = 2360 gives width = inf; choose phi closer to 0"),
        (lambda: CompoundScaling().exact(1e6), "phi = 1000000.0 gives width = inf; choose phi closer to 0"),
        (lambda: CompoundScaling().spec(-4), "phi = -4 gives repeats = -1"),
        (lambda: CompoundScaling().spec(float("nan")), "phi is nan; allowed are finite numbers"),
        (lambda: efficientdet("d8"), "efficientdet 'd8' is unknown; allowed are d0, d1"),
    ],
)
def test_what_the_rule_refuses(make: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()  # type: ignore[operator]


def test_the_released_names() -> None:
    assert NAMES[:9] == ("d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "d7x")
    assert efficientdet("d7x").topology.max_level == 8
