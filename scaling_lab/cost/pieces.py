"""Costs of the modules of feature network and heads, each counted once on torch's meta device, for every size.

A piece's inputs and outputs have one height and width. Multiply-adds and activations are proportional to its number of
positions, and so are the bytes of its tensors, except those without positions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from scaling_lab.architecture.node import Node
from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.cost.activation_memory import Alive, module_tensors, size
from scaling_lab.model.feature_network import FusionNode
from scaling_lab.model.fusion import make_fusion
from scaling_lab.model.heads import Head
from scaling_lab.model.layers import Projection, resample

Value = TypeVar("Value")

# Two sizes separate what grows with the positions from what does not.
_SIZES = ((2, 2), (2, 4))


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a module: bytes of weights, bytes alive after each creation of a tensor, bytes of outputs."""

    params: int
    macs: int
    activations: int
    weights: int
    moments: tuple[int, ...]
    left: int
    outputs: tuple[Tensor, ...]

    @property
    def peak(self) -> int:
        """The peak number of bytes, besides weights and inputs."""
        return max(self.moments, default=0)


def run(module: nn.Module | Callable[[Any], Any], inputs: Tensor | list[Tensor]) -> Run:
    """Run a module of the meta device on tensors there. Its inputs do not count as alive."""
    own = module_tensors(module) if isinstance(module, nn.Module) else []
    given = [inputs] if isinstance(inputs, Tensor) else inputs
    with torch.no_grad(), FlopCounterMode(display=False) as counter, Alive([*own, *given]) as alive:
        outputs = module(inputs)
        left = alive.now
    return Run(
        params=sum(parameter.numel() for parameter in module.parameters()) if isinstance(module, nn.Module) else 0,
        macs=counter.get_total_flops() // 2,
        activations=alive.activations,
        weights=size(own),
        moments=tuple(alive.moments),
        left=left,
        outputs=(outputs,) if isinstance(outputs, Tensor) else tuple(outputs),
    )


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A module's cost; `macs`, `activations` and `left`, the bytes of its result, are for one position.

    `moments` are the bytes alive besides weights and inputs while it runs: (bytes for a position, constant bytes).
    """

    params: int
    weights: int
    macs: int
    activations: int
    left: int
    moments: tuple[tuple[int, int], ...]

    def peak(self, positions: int) -> int:
        """Return the peak number of bytes while it runs."""
        return max((each * positions + fixed for each, fixed in self.moments), default=0)

    def with_more_like_it(self, less: Piece, times: int) -> Piece:
        """Return the piece with `times` more of what this piece has and `less` lacks, executed last."""
        grown = {
            name: getattr(self, name) + times * (getattr(self, name) - getattr(less, name))
            for name in ("params", "weights", "macs", "activations")
        }
        return dataclasses.replace(self, **grown)


@contextmanager
def on_meta() -> Iterator[None]:
    """Create modules and tensors on the meta device in float32, regardless of torch's default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("meta"):
            yield
    finally:
        torch.set_default_dtype(before)


def measure(make: Callable[[], nn.Module], channels: Sequence[int] | int) -> Piece:
    """Return the cost of a module that takes a list of tensors with these channels, or one tensor."""
    with on_meta():
        module = make().eval()
    runs = []
    for height, width in _SIZES:
        shapes = [channels] if isinstance(channels, int) else channels
        tensors = [torch.empty(1, each, height, width, dtype=torch.float32, device="meta") for each in shapes]
        runs.append(run(module, tensors[0] if isinstance(channels, int) else tensors))
    (small, large), (few, many) = runs, [height * width for height, width in _SIZES]
    moments = set()
    for less, more in zip(small.moments, large.moments, strict=True):
        each = (more - less) // (many - few)
        moments.add((each, less - each * few))
    return Piece(
        params=small.params,
        weights=small.weights,
        macs=small.macs // few,
        activations=small.activations // few,
        left=small.left // few,
        moments=tuple(sorted(moments)),
    )


class Pieces:
    """The pieces of all specs of one style; `spec` is one of them."""

    def __init__(self, spec: DetectorSpec) -> None:
        self._spec = spec
        self._known: dict[Hashable, object] = {}
        # A single input at its own size needs only the operations after the fusion.
        self.after_fusion = measure(lambda: _OfOneInput(spec), spec.width)

    def projection(self, channels: int) -> Piece:
        """Return the projection from `channels` to the width."""
        return self._once(channels, lambda: measure(lambda: Projection(channels, self._spec), channels))

    def fusion(self, kind: str, inputs: int) -> Piece:
        """Return a fusion of `inputs` inputs."""
        width = self._spec.width
        return self._once((kind, inputs), lambda: measure(lambda: make_fusion(kind, inputs, width), [width] * inputs))

    def head(self, spec: DetectorSpec, values: int) -> tuple[Piece, int]:
        """Return a head at one level, and the number of its parameters that belong to the level."""
        if spec.head_repeats <= 2:
            key = (values * spec.boxes_per_position, spec.topology.num_inputs, spec.head_repeats)
            return self._once(key, lambda: _measure_head(spec, values))
        # From the second convolution on, all are equal.
        (one, own), (two, owns) = (
            self.head(dataclasses.replace(spec, head_repeats=repeats), values) for repeats in (1, 2)
        )
        more = spec.head_repeats - 2
        return two.with_more_like_it(one, more), owns + (owns - own) * more

    def resampled(self, source: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
        """Return the bytes of one channel alive while a feature is resampled: at the peak, and at the end."""
        return self._once((source, target), lambda: self._resample(source, target))

    def _resample(self, source: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
        x_BCHW = torch.empty(1, 1, *source, dtype=torch.float32, device="meta")
        counted = run(lambda x_BCHW: resample(x_BCHW, target, self._spec), x_BCHW)
        return counted.peak, counted.left

    def _once(self, key: Hashable, make: Callable[[], Value]) -> Value:
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]  # type: ignore[return-value]


def _measure_head(spec: DetectorSpec, values: int) -> tuple[Piece, int]:
    with on_meta():
        head = Head(spec, values)
    own = sum(parameter.numel() for norms in head.norms for parameter in norms[0].parameters())  # type: ignore[index]
    return measure(lambda: head, [spec.width]), own


class _OfOneInput(nn.Module):
    """A node that reads one feature at its own size."""

    def __init__(self, spec: DetectorSpec) -> None:
        super().__init__()
        self.node = FusionNode(spec, Node(spec.topology.min_level, (0,), "sum"), [spec.width])

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.node([x_BCHW], (x_BCHW.shape[2], x_BCHW.shape[3]))  # type: ignore[no-any-return]
