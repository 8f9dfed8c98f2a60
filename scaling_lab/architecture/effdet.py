"""The models of the effdet package as specs, without effdet itself.

Source: rwightman/efficientdet-pytorch (effdet 0.4.1), effdet/config/model_config.py. effdet_models.json has each model's
differences from the defaults there, by name and under effdet's own keys, and the name of its weights file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

from scaling_lab.architecture import topologies
from scaling_lab.architecture.node import Node
from scaling_lab.architecture.spec import Anchors, DetectorSpec, Pixels
from scaling_lab.architecture.topology import Topology
from scaling_lab.checks import check_choice, check_fields
from scaling_lab.errors import UserError

_DEFAULTS: dict[str, Any] = {
    "num_classes": 90,
    "min_level": 3,
    "max_level": 7,
    "num_scales": 3,
    "aspect_ratios": [[1.0, 1.0], [1.4, 0.7], [0.7, 1.4]],
    "anchor_scale": 4.0,
    "pad_type": "same",
    "act_type": "swish",
    "head_act_type": None,
    "separable_conv": True,
    "apply_resample_bn": True,
    "conv_bn_relu_pattern": False,
    "downsample_type": "max",
    "upsample_type": "nearest",
    "redundant_bias": True,
    "fpn_name": None,
    "fpn_config": None,
    "norm_layer": None,
    "backbone_args": None,
    "mean": None,
    "std": None,
    "fill_color": "mean",
    "soft_nms": False,
    "norm_kwargs": {"eps": 0.001, "momentum": 0.01},
}
_TOPOLOGIES: dict[str, Callable[..., Topology]] = {
    "bifpn": topologies.bifpn,
    "pan": topologies.panet,
    "qufpn": topologies.quad_fpn,
}
_FUSIONS = {"sum": "sum", "attn": "softmax", "fa": "fast", "fastattn": "fast"}
_REQUIRED = ("backbone_name", "image_size", "fpn_channels", "fpn_cell_repeats", "box_class_repeats")
_LEFT_OUT = (
    *("name", "url", "weights_file", "num_levels", "backbone_indices", "head_bn_level_first", "fpn_drop_path_rate"),
    *("alpha", "gamma", "label_smoothing", "legacy_focal", "jit_loss", "delta", "box_loss_weight"),
    *("max_detection_points", "max_det_per_image"),
)


@lru_cache(maxsize=1)
def effdet_models() -> Mapping[str, Mapping[str, Any]]:
    """Return effdet's settings of each of its models, by name."""
    text = (resources.files("scaling_lab.architecture") / "effdet_models.json").read_text(encoding="utf-8")
    models: dict[str, dict[str, Any]] = json.loads(text)
    return models


def effdet_spec(name: str) -> DetectorSpec:
    """Return the spec of an effdet model, such as "tf_efficientdet_d0". Raises UserError with the known names."""
    if name not in effdet_models():
        raise UserError(f"effdet has no model {name!r}; allowed are {', '.join(effdet_models())}")
    return spec_from_effdet(effdet_models()[name])


def effdet_name(file_name: str) -> str | None:
    """Return the model of a weights file by its name: effdet's own, or <model>[-_.]<anything>."""
    for name, values in effdet_models().items():
        if values.get("weights_file") == file_name:
            return name
    longest_first = sorted(effdet_models(), key=len, reverse=True)
    return next((name for name in longest_first if file_name.startswith(tuple(name + end for end in "-_."))), None)


def spec_from_effdet(config: Mapping[str, Any]) -> DetectorSpec:
    """Return the spec of an effdet configuration: a mapping with effdet's keys and defaults.

    Settings of training and post-processing are ignored. Levels are selected by their stride, regardless of
    `backbone_indices`. Raises UserError for an unknown or missing key, and for an unsupported value.
    """
    given = {str(key): value for key, value in config.items()}
    check_fields("an effdet configuration", given, [*_REQUIRED, *_DEFAULTS, *_LEFT_OUT])
    for key in _REQUIRED:
        if key not in given:
            raise UserError(f"an effdet configuration needs {key!r}; it has {', '.join(given) or 'nothing'}")
    values = {**_DEFAULTS, **given}
    _check_supported(values)
    min_level, max_level = int(values["min_level"]), int(values["max_level"])
    scale = values["anchor_scale"]
    return DetectorSpec(
        backbone=values["backbone_name"],
        topology=_topology(values, min_level, max_level),
        width=values["fpn_channels"],
        repeats=values["fpn_cell_repeats"],
        head_repeats=values["box_class_repeats"],
        image_size=values["image_size"],
        num_classes=values["num_classes"],
        anchors=Anchors(
            scale=tuple(scale) if isinstance(scale, Sequence) else float(scale),
            octave_scales=values["num_scales"],
            aspects=tuple(_aspect(aspect) for aspect in values["aspect_ratios"]),
        ),
        activation=_activation(values["act_type"]),
        head_activation=_activation(values["head_act_type"]) if values["head_act_type"] else None,
        padding=values["pad_type"] or "symmetric",
        separable=values["separable_conv"],
        bias_before_norm=values["redundant_bias"],
        norm_before_activation=values["conv_bn_relu_pattern"],
        downsampling=values["downsample_type"],
        upsampling=values["upsample_type"],
        backbone_options=dict(values["backbone_args"] or {}),
        pixels=_pixels(values),
    )


def _check_supported(values: Mapping[str, Any]) -> None:
    if not values["apply_resample_bn"]:
        raise UserError("apply_resample_bn is False; allowed is True, since projections always have a batch norm")
    norm = _DEFAULTS["norm_kwargs"]
    if values["norm_layer"] is not None or dict(values["norm_kwargs"] or {}) != norm:
        raise UserError(f"norm_layer or norm_kwargs is set; allowed is a batch norm with {norm}")
    if values["soft_nms"]:
        raise UserError("soft_nms is True; allowed is False, since non-maximum suppression is hard")


def _topology(values: Mapping[str, Any], min_level: int, max_level: int) -> Topology:
    if values["fpn_config"] is not None:
        return Topology(min_level, max_level, tuple(_node(node) for node in values["fpn_config"]["nodes"]))
    kind, _, fusion = (values["fpn_name"] or "bifpn_fa").rpartition("_")
    if kind not in _TOPOLOGIES or fusion not in _FUSIONS:
        raise UserError(f"fpn_name is {values['fpn_name']!r}; allowed are bifpn, pan or qufpn with _sum, _attn or _fa")
    return _TOPOLOGIES[kind](min_level, max_level, fusion=_FUSIONS[fusion])


def _node(values: Mapping[str, Any]) -> Node:
    keys = ("feat_level", "inputs_offsets", "weight_method")
    check_fields("a node of fpn_config", map(str, values), keys)
    if len(values) < len(keys):
        raise UserError(f"a node of fpn_config needs {', '.join(keys)}; it is {dict(values)}")
    level, inputs, fusion = (values[key] for key in keys)
    check_choice("weight_method", fusion, [*_FUSIONS])
    return Node(level, tuple(inputs), _FUSIONS[fusion])


def _aspect(value: float | Sequence[float]) -> tuple[float, float]:
    """Return a pair (width, height); a ratio r means (sqrt r, 1 / sqrt r)."""
    if isinstance(value, Sequence):
        return float(value[0]), float(value[1])
    return float(value) ** 0.5, 1.0 / float(value) ** 0.5


def _activation(name: str) -> str:
    return "silu" if name == "swish" else name


def _pixels(values: Mapping[str, Any]) -> Pixels:
    pixels = Pixels() if values["mean"] is None else Pixels(mean=tuple(values["mean"]), std=tuple(values["std"]))
    if values["fill_color"] == "mean":
        return pixels
    if values["fill_color"] != 0:
        raise UserError(f"fill_color is {values['fill_color']!r}; allowed are 'mean' and 0")
    return Pixels(mean=pixels.mean, std=pixels.std, fill="black")
