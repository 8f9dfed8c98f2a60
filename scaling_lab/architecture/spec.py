"""A detector as one plain value: backbone, feature network, heads, anchors, image size. It neither builds nor trains."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from scaling_lab.architecture.topology import Topology
from scaling_lab.errors import UserError

ACTIVATIONS = ("silu", "relu", "relu6", "leaky_relu", "hard_swish", "mish")
PADDINGS = ("same", "symmetric")
DOWNSAMPLINGS = ("max", "bilinear")
UPSAMPLINGS = ("nearest", "bilinear")


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """The boxes at every position: `octave_scales` sizes for each aspect ratio.

    A size is `scale` * stride * 2**(k / octave_scales); `scale` may be one number for each level. An aspect is (width,
    height) in units of that size. Source: google/automl efficientdet, hparams_config.py and tf2/anchors.py.
    """

    scale: float | tuple[float, ...] = 4.0
    octave_scales: int = 3
    aspects: tuple[tuple[float, float], ...] = (
        (1.0, 1.0),
        (math.sqrt(2.0), math.sqrt(0.5)),
        (math.sqrt(0.5), math.sqrt(2.0)),
    )

    def __post_init__(self) -> None:
        if not isinstance(self.scale, (int, float)):
            object.__setattr__(self, "scale", tuple(float(scale) for scale in self.scale))
        object.__setattr__(self, "aspects", tuple((float(width), float(height)) for width, height in self.aspects))
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        if not scales or min(scales) <= 0:
            raise UserError(f"anchors.scale is {self.scale}; allowed are numbers above 0")
        if self.octave_scales < 1:
            raise UserError(f"anchors.octave_scales is {self.octave_scales}; allowed are 1 and more")
        if not self.aspects or min(min(aspect) for aspect in self.aspects) <= 0:
            raise UserError(f"anchors.aspects is {self.aspects}; allowed are pairs (width, height) above 0")

    @property
    def per_position(self) -> int:
        """How many anchors stand at one position of one level."""
        return self.octave_scales * len(self.aspects)


@dataclass(frozen=True, kw_only=True)
class DetectorSpec:
    """Everything that decides a detector's graph and weights' shapes. Raises UserError for what cannot be built.

    `backbone` is any timm model that offers `features_only`; `width` the channels of feature network and heads; `repeats`
    and `head_repeats` how often the cell and the heads' convolutions are stacked; `image_size` (height, width) in pixels,
    one number for a square. `padding` "same" is TensorFlow's asymmetric one; `bias_before_norm` keeps the biases that a
    batch norm makes idle, as the released weights do; `separable` makes every 3x3 convolution a depthwise and a pointwise
    one; `norm_before_activation` is convolution, norm, activation in place of activation, convolution, norm.
    `backbone_options` are JSON values that timm.create_model takes for this backbone, such as {"channels": [16, 32, 48, 64]}.
    """

    backbone: str
    topology: Topology
    width: int
    repeats: int
    head_repeats: int
    image_size: tuple[int, int]
    num_classes: int = 90
    anchors: Anchors = field(default_factory=Anchors)
    activation: str = "silu"
    head_activation: str | None = None
    padding: str = "same"
    separable: bool = True
    bias_before_norm: bool = True
    norm_before_activation: bool = False
    downsampling: str = "max"
    upsampling: str = "nearest"
    backbone_options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if isinstance(self.image_size, int):
            object.__setattr__(self, "image_size", (self.image_size, self.image_size))
        object.__setattr__(self, "image_size", tuple(self.image_size))
        if not isinstance(self.topology, Topology):
            raise UserError(f"topology is {self.topology!r}; allowed is a Topology, such as topologies.bifpn(3, 7)")
        if not isinstance(self.backbone, str) or not self.backbone:
            raise UserError(f"backbone is {self.backbone!r}; allowed is the name of a timm model")
        for name in ("width", "repeats", "head_repeats", "num_classes"):
            _check_count(name, getattr(self, name), least=0 if name == "head_repeats" else 1)
        if len(self.image_size) != 2:
            raise UserError(f"image_size is {self.image_size}; allowed is one number, or (height, width)")
        for side in self.image_size:
            _check_count("image_size", side, least=1)
        object.__setattr__(self, "backbone_options", _json_values("backbone_options", self.backbone_options))
        _check_choice("activation", self.activation, ACTIVATIONS)
        if self.head_activation is not None:
            _check_choice("head_activation", self.head_activation, ACTIVATIONS)
        _check_choice("padding", self.padding, PADDINGS)
        _check_choice("downsampling", self.downsampling, DOWNSAMPLINGS)
        _check_choice("upsampling", self.upsampling, UPSAMPLINGS)
        self._check_anchors()
        self._check_dangling()

    def _check_anchors(self) -> None:
        scale = self.anchors.scale
        if isinstance(scale, tuple) and len(scale) != self.topology.num_inputs:
            raise UserError(
                f"anchors.scale has {len(scale)} numbers, the topology {self.topology.num_inputs} levels; "
                "allowed is one number for all levels, or one for each"
            )

    def _check_dangling(self) -> None:
        for node_id in self.topology.dead_nodes:
            raise UserError(
                f"node {node_id} (P{self.topology.node(node_id).level}) is dangling: no output depends on it; "
                "remove it with topology.without_dead_nodes()"
            )
        if self.repeats > 1:
            read = {source for node in self.topology.nodes for source in node.inputs} | set(self.topology.outputs)
            for index in range(self.topology.num_inputs):
                if index not in read:
                    raise UserError(
                        f"no node reads the input P{self.topology.levels[index]}, so with repeats={self.repeats} that "
                        "level is computed for nothing; let a node read it, or set repeats=1"
                    )

    # --- reading -----------------------------------------------------------------------------------------------------

    @cached_property
    def digest(self) -> str:
        """12 hexadecimal digits that are equal where two specs are the same detector, however its topology is written."""
        values = {**self.to_dict(), "topology": self.topology.digest}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]

    def describe(self) -> str:
        """Say in one line what it is, such as "efficientnet_b0, bifpn P3-P7 fast x3, width 64, 512 px"."""
        height, width = self.image_size
        size = f"{width} px" if height == width else f"{width}x{height} px"
        backbone = f"{self.backbone}*" if self.backbone_options else self.backbone
        return f"{backbone}, {self.topology.describe()} x{self.repeats}, width {self.width}, {size}"

    # --- JSON --------------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Give plain JSON values."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        values["topology"] = self.topology.to_dict()
        values["anchors"] = dataclasses.asdict(self.anchors)
        return json.loads(json.dumps(values))  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DetectorSpec:
        """Read what `to_dict` gave. Raises UserError that names a missing or unknown field."""
        known = {f.name: f for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise UserError(f"a spec has no field {unknown[0]!r}; allowed are {', '.join(known)}")
        required = (name for name, f in known.items() if f.default is f.default_factory is dataclasses.MISSING)
        missing = [name for name in required if name not in values]
        if missing:
            raise UserError(f"a spec needs the field {missing[0]!r}; it has {', '.join(sorted(values)) or 'none'}")
        read = dict(values)
        read["topology"] = Topology.from_dict(read["topology"])
        if "anchors" in read:
            try:
                read["anchors"] = Anchors(**read["anchors"])
            except TypeError as error:
                raise UserError(f"anchors: {error}; allowed are scale, octave_scales, aspects") from None
        return cls(**read)

    def to_json(self) -> str:
        """Give JSON text, indented."""
        return json.dumps(self.to_dict(), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> DetectorSpec:
        """Read JSON text. Raises UserError with the place of an error."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"not JSON: {error}") from None
        if not isinstance(values, dict):
            raise UserError(f"a spec is a JSON object, not {type(values).__name__}")
        return cls.from_dict(values)


def _check_count(name: str, value: object, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f"{name} is {value!r}; allowed are whole numbers from {least}")


def _json_values(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return dict(json.loads(json.dumps(dict(values))))
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} is {values!r}; allowed is a mapping of JSON values ({error})") from None


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"{name} is {value!r}; allowed are {', '.join(allowed)}")
