"""A detector as one plain value: backbone, feature network, heads, anchors, image size."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from scaling_lab.architecture.topology import Topology
from scaling_lab.checks import (
    Fields,
    check_choice,
    check_fields,
    check_flag,
    check_items,
    check_json,
    check_number,
    check_text,
    check_whole,
)
from scaling_lab.errors import UserError
from scaling_lab.files import parse_json, read_text

ACTIVATIONS = ("silu", "relu", "relu6", "leaky_relu", "hard_swish", "mish")
HEADS = ("anchors", "points")
PADDINGS = ("same", "symmetric")
DOWNSAMPLINGS = ("max", "bilinear")
UPSAMPLINGS = ("nearest", "bilinear")
FILLS = ("mean", "black")
# Options of timm.create_model that are no property of the architecture. Levels and weights are chosen elsewhere, and a spec
# must not cause the reading of a file.
NO_BACKBONE_OPTIONS = ("features_only", "out_indices", "checkpoint_path", "cache_dir", "scriptable", "exportable")


@dataclass(frozen=True, kw_only=True)
class Anchors(Fields):
    """The anchors at every position: `octave_scales` sizes for each aspect ratio.

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
        if isinstance(self.scale, (int, float)):
            check_number("anchors.scale", self.scale, above=0)
        else:
            scales = _numbers("anchors.scale", self.scale, "one number, or one for each level", above=0)
            object.__setattr__(self, "scale", scales)
        check_whole("anchors.octave_scales", self.octave_scales, least=1)
        allowed = "a list of pairs (width, height), at least one"
        pairs = check_items("anchors.aspects", self.aspects, allowed)
        if not pairs:
            raise UserError(f"anchors.aspects is {self.aspects}; allowed is {allowed}")
        aspects = tuple(_numbers("anchors.aspects", pair, allowed, length=2, above=0) for pair in pairs)
        object.__setattr__(self, "aspects", aspects)

    @property
    def per_position(self) -> int:
        """The number of anchors at one position of one level."""
        return self.octave_scales * len(self.aspects)


@dataclass(frozen=True, kw_only=True)
class Pixels(Fields):
    """The normalisation of images: value / 255, minus `mean`, over `std`, for red, green and blue.

    Pixels outside the image are filled with "mean", which becomes 0, or "black". The defaults are ImageNet's, as in timm.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    fill: str = "mean"

    def __post_init__(self) -> None:
        for name, above in (("mean", None), ("std", 0)):
            values = _numbers(f"pixels.{name}", getattr(self, name), "a list of three numbers", length=3, above=above)
            object.__setattr__(self, name, values)
        check_choice("pixels.fill", self.fill, FILLS)


# The fields of a spec that have fields of their own.
# Larger than any real detector, and small enough for all counts to be finite.
LARGEST, MOST_REPEATS = 1_000_000, 10_000
_PARTS: dict[str, type[Anchors] | type[Pixels]] = {"anchors": Anchors, "pixels": Pixels}


@dataclass(frozen=True, kw_only=True)
class DetectorSpec(Fields):
    """Everything that decides a detector's graph and the shapes of its weights. Raises UserError for an invalid detector.

    `backbone` is any timm model with `features_only`. `width` is the number of channels of feature network and heads,
    `repeats` that of stacked cells, `head_repeats` that of head convolutions. `image_size` is (height, width) in pixels, or
    one number for a square. `padding` "same" is TensorFlow's asymmetric padding. `bias_before_norm` keeps biases before
    batch norms, as in the released weights, although they have no effect. `separable` makes every 3x3 convolution a
    depthwise and a pointwise one. `norm_before_activation` is convolution, norm, activation instead of activation,
    convolution, norm. `backbone_options` are JSON values for timm.create_model, such as {"channels": [16, 32, 48, 64]}.

    `head` "points" predicts one box at each position, as distances to its four sides (detection/points.py). It has no
    anchors, so `anchors` is then the default.
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
    pixels: Pixels = field(default_factory=Pixels)
    head: str = "anchors"

    def __post_init__(self) -> None:
        if isinstance(self.image_size, int):
            object.__setattr__(self, "image_size", (self.image_size, self.image_size))
        sides = check_items("image_size", self.image_size, "one number, or (height, width)")
        object.__setattr__(self, "image_size", sides)
        object.__setattr__(self, "backbone_options", _backbone_options(self.backbone_options))
        if not isinstance(self.topology, Topology):
            raise UserError(f"topology is {self.topology!r}; allowed is a Topology, such as topologies.bifpn(3, 7)")
        for name, kind in _PARTS.items():
            if not isinstance(getattr(self, name), kind):
                raise UserError(f"{name} is {getattr(self, name)!r}; allowed is {kind.__name__}(...)")
        self._check_sizes()
        self._check_choices()
        if self.head == "points":
            object.__setattr__(self, "anchors", Anchors())
        self._check_anchors()
        self._check_dangling()

    def _check_sizes(self) -> None:
        for name in ("width", "repeats", "head_repeats", "num_classes"):
            most = MOST_REPEATS if name.endswith("repeats") else LARGEST
            check_whole(name, getattr(self, name), least=0 if name == "head_repeats" else 1, most=most)
        if len(self.image_size) != 2:
            raise UserError(f"image_size is {self.image_size}; allowed is one number, or (height, width)")
        for side in self.image_size:
            check_whole("image_size", side, least=1, most=LARGEST)

    def _check_choices(self) -> None:
        check_text("backbone", self.backbone, "the name of a timm model")
        check_choice("activation", self.activation, ACTIVATIONS)
        if self.head_activation is not None:
            check_choice("head_activation", self.head_activation, ACTIVATIONS)
        check_choice("head", self.head, HEADS)
        check_choice("padding", self.padding, PADDINGS)
        check_choice("downsampling", self.downsampling, DOWNSAMPLINGS)
        check_choice("upsampling", self.upsampling, UPSAMPLINGS)
        for name in ("separable", "bias_before_norm", "norm_before_activation"):
            check_flag(name, getattr(self, name))

    def _check_anchors(self) -> None:
        scale = self.anchors.scale
        if isinstance(scale, tuple) and len(scale) != self.topology.num_inputs:
            raise UserError(
                f"anchors.scale has {len(scale)} numbers, but the topology {self.topology.num_inputs} levels; "
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
                        f"no node reads the input P{self.topology.levels[index]}, so with repeats={self.repeats} that level "
                        "has no effect; let a node read it, or set repeats=1"
                    )

    # --- reading -----------------------------------------------------------------------------------------------------

    @cached_property
    def digest(self) -> str:
        """A 12-digit hexadecimal digest, equal for equal detectors, however the topology is written."""
        values = {**self.to_dict(), "topology": self.topology.digest}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def boxes_per_position(self) -> int:
        """The number of boxes that the heads predict at one position of one level."""
        return self.anchors.per_position if self.head == "anchors" else 1

    def describe(self) -> str:
        """Describe the detector in one line, such as "efficientnet_b0, bifpn P3-P7 fast x3, width 64, 512 px".

        A head without anchors is named before the image size.
        """
        height, width = self.image_size
        size = f"{width} px" if height == width else f"{width}x{height} px"
        backbone = f"{self.backbone}*" if self.backbone_options else self.backbone
        head = "" if self.head == "anchors" else f"{self.head}, "
        return f"{backbone}, {self.topology.describe()} x{self.repeats}, width {self.width}, {head}{size}"

    # --- JSON --------------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values.

        Where `head` is "anchors" it is left out, as in files from before it existed. Points have no `anchors`.
        """
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        values["topology"] = self.topology.to_dict()
        values["anchors"] = dataclasses.asdict(self.anchors)
        values["pixels"] = dataclasses.asdict(self.pixels)
        del values["head" if self.head == "anchors" else "anchors"]
        return json.loads(json.dumps(values))  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DetectorSpec:
        """Return the spec of a `to_dict` result; the topology may be a Topology. Raises UserError naming a wrong field."""
        known = {f.name: f for f in dataclasses.fields(cls)}
        check_fields("a spec", values, list(known))
        required = (name for name, f in known.items() if f.default is f.default_factory is dataclasses.MISSING)
        missing = [name for name in required if name not in values]
        if missing:
            raise UserError(f"a spec needs the field {missing[0]!r}; it has {', '.join(sorted(values)) or 'none'}")
        read = dict(values)
        if not isinstance(read["topology"], Topology):
            read["topology"] = Topology.from_dict(read["topology"])
        for name, kind in _PARTS.items():
            if name in read:
                read[name] = kind(**check_json(name, read[name]))
        return cls(**read)

    def to_json(self) -> str:
        """Return indented JSON text."""
        return json.dumps(self.to_dict(), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> DetectorSpec:
        """Return the spec of JSON text. Raises UserError with the position of an error; `load` also names the file."""
        values = parse_json(text)
        if not isinstance(values, dict):
            raise UserError(f"a spec is a JSON object, not {type(values).__name__}")
        return cls.from_dict(values)

    @classmethod
    def load(cls, path: str | Path) -> DetectorSpec:
        """Return the spec of a JSON file. Raises UserError naming the file."""
        text = read_text(Path(path))
        try:
            return cls.from_json(text)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None


def _numbers(
    name: str, values: object, allowed: str, *, length: int | None = None, above: float | None = None
) -> tuple[float, ...]:
    """Return several numbers, `length` of them if given. Raises UserError with `allowed` otherwise."""
    items = check_items(name, values, allowed)
    if not items or length not in (None, len(items)):
        raise UserError(f"{name} is {values!r}; allowed is {allowed}")
    for item in items:
        check_number(name, item, above=above)
    return tuple(float(item) for item in items)


def _backbone_options(value: object) -> dict[str, Any]:
    options = check_json("backbone_options", value)
    for name in options:
        if name in NO_BACKBONE_OPTIONS or name.startswith("pretrained"):
            raise UserError(
                f"backbone_options has {name!r}; allowed are options of the backbone's shape: the topology sets levels, and "
                "build(pretrained=...) and load_checkpoint read weights"
            )
    return options
