"""effdet's models as specs: our table against effdet's own configuration."""

from __future__ import annotations

import warnings

import pytest

from scaling_lab import topologies
from scaling_lab.architecture import Pixels, effdet_spec, efficientdet
from scaling_lab.architecture.effdet import effdet_models, effdet_name, spec_from_effdet
from scaling_lab.architecture.efficientdet import NAMES
from scaling_lab.errors import UserError

with warnings.catch_warnings():  # torch.jit.script, which effdet uses, is deprecated
    warnings.simplefilter("ignore")
    from effdet.config.model_config import efficientdet_model_param_dict, get_efficientdet_config


def test_the_table_has_all_models_and_no_other() -> None:
    assert list(effdet_models()) == list(efficientdet_model_param_dict)


@pytest.mark.parametrize("name", efficientdet_model_param_dict)
def test_a_row_is_effdets_configuration(name: str) -> None:
    config = get_efficientdet_config(name)
    assert effdet_spec(name) == spec_from_effdet(config)
    file_name = (config.get("url") or "").rsplit("/", 1)[-1]
    assert effdet_models()[name].get("weights_file", "") == file_name


@pytest.mark.parametrize("name", NAMES)
def test_the_tf_models_are_the_released_ones(name: str) -> None:
    """But for effdet's rounded aspect ratios (1.4 for √2) and pixels (127/255 is .5), and stochastic depth."""
    spec, other = efficientdet(name), effdet_spec(f"tf_efficientdet_{name}")
    assert spec.pixels.mean == pytest.approx(other.pixels.mean, abs=0.003)
    assert spec.pixels.std == pytest.approx(other.pixels.std, abs=0.003)
    released, theirs = spec.to_dict(), other.to_dict()
    for field in ("anchors", "backbone_options", "pixels"):
        released.pop(field), theirs.pop(field)
    assert released == theirs


def test_a_configuration_of_ones_own() -> None:
    config = get_efficientdet_config("tf_efficientdet_d0")
    config.num_classes = 7
    config.image_size = (320, 448)
    config.fpn_config = {
        "nodes": [
            {"feat_level": level, "inputs_offsets": [offset], "weight_method": "sum"}
            for offset, level in enumerate(range(3, 8))
        ]
    }
    spec = spec_from_effdet(config)
    assert (spec.num_classes, spec.image_size) == (7, (320, 448))
    assert spec.topology.digest == topologies.none(3, 7).with_fusion("sum").digest


def test_pixels() -> None:
    assert effdet_spec("tf_efficientdet_d0").pixels == Pixels()
    assert effdet_spec("tf_efficientdet_lite0").pixels == Pixels(mean=(0.5,) * 3, std=(0.5,) * 3)
    assert effdet_spec("tf_efficientdet_d0_ap").pixels == Pixels(mean=(0.5,) * 3, std=(0.5,) * 3, fill="black")


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("tf_efficientdet_d0.pth", "tf_efficientdet_d0"),
        ("tf_efficientdet_d0_34-f153e0cf.pth", "tf_efficientdet_d0"),
        ("tf_efficientdet_d0_ap-d0cdbd0a.pth", "tf_efficientdet_d0_ap"),
        ("tf_efficientdet_d7x-f390b87c.pth", "tf_efficientdet_d7x"),
        ("efficientdetv2_rw_dt_agc-ad8b8c96.pth", "efficientdetv2_dt"),
        ("tf_efficientdet_d0_mine.safetensors", "tf_efficientdet_d0"),
        ("model_best.pth.tar", None),
    ],
)
def test_a_files_name_says_the_model(file_name: str, name: str | None) -> None:
    assert effdet_name(file_name) == name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"apply_resample_bn": False}, "apply_resample_bn is False"),
        ({"fpn_name": "fancy_fa"}, "fpn_name is 'fancy_fa'; allowed are bifpn, pan or qufpn"),
        ({"norm_kwargs": {"eps": 1e-5, "momentum": 0.1}}, "norm_layer or norm_kwargs"),
        ({"fill_color": 7}, "fill_color is 7"),
        ({"act_type": "gelu"}, "activation is 'gelu'"),
        ({"soft_nms": True}, "soft_nms is True; allowed is False"),
        ({"fpn_chanels": 64}, "an effdet configuration has no field 'fpn_chanels' .did you mean 'fpn_channels'"),
        ({"image_size": 0}, "image_size is 0"),
        (
            {"fpn_config": {"nodes": [{"feat_level": 3, "inputs_offsets": [0], "weight_method": "max"}]}},
            "weight_method is 'max'; allowed are sum, attn, fa, fastattn",
        ),
        ({"fpn_config": {"nodes": [{"feat_level": 3}]}}, "a node of fpn_config needs feat_level, inputs_offsets"),
    ],
)
def test_what_has_no_counterpart_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        spec_from_effdet({**get_efficientdet_config("tf_efficientdet_d0"), **changes})


def test_an_unknown_name_is_told_the_known() -> None:
    with pytest.raises(UserError, match="effdet has no model 'd99'; allowed are efficientdet_d0, "):
        effdet_spec("d99")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(UserError, match="an effdet configuration needs 'backbone_name'; it has fpn_channels"):
        spec_from_effdet({"fpn_channels": 64})
