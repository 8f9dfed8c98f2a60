"""The pieces that feature network and heads are made of, for every width."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from scaling_lab.architecture.node import Node
from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.architecture.topology import Topology
from scaling_lab.cost.pieces import Derived, Formula, Piece, Sizes, on_meta, run
from scaling_lab.model.feature_network import FusionNode
from scaling_lab.model.fusion import make_fusion
from scaling_lab.model.heads import Head
from scaling_lab.model.layers import Projection, Size, resample, resampling_steps


class Pieces:
    """The pieces of all specs of one style; `spec` is one of them."""

    def __init__(self, spec: DetectorSpec) -> None:
        # Heads differ by what they predict at a position, whatever that consists of.
        self._spec = dataclasses.replace(spec, head="points", topology=Topology(1, 1), repeats=1)
        self._known: dict[tuple[Any, ...], Derived] = {}
        self._steps: dict[str, tuple[int, int]] = {}

    def projection(self, channels: int, width: int) -> Piece:
        """Return the projection from `channels` to the width."""
        return self._once(("projection",), self._make_projection).at(width=width, read=channels)

    def after_fusion(self, width: int) -> Piece:
        """Return the operations of a node after its fusion."""
        return self._once(("node",), self._make_node).at(width=width)

    def head(self, repeats: int, levels: int, predicted: int, width: int) -> tuple[Piece, int]:
        """Return a head at one level, and the number of its parameters that belong to the level."""
        if repeats <= 2:
            head = self._once(("head", repeats, levels), lambda sizes: self._make_head(repeats, levels, sizes))
            norms = self._once(("norms", repeats, levels), lambda sizes: self._make_norms(repeats, levels, sizes))
            return head.at(width=width, predicted=predicted), norms.at(width=width).params
        # From the second convolution on, all are equal.
        (one, own), (two, owns) = (self.head(each, levels, predicted, width) for each in (1, 2))
        return two.with_more_like_it(one, repeats - 2), owns + (owns - own) * (repeats - 2)

    def resampled(self, source: Size, target: Size) -> tuple[int, int]:
        """Return the bytes of one channel alive while a feature is resampled: at the peak, and at the end."""
        peak = left = 0
        for mode, (height, width) in resampling_steps(source, target, self._spec):
            most, made = self._steps.get(mode) or self._step(mode)
            peak = max(peak, left + most * height * width)
            left = made * height * width
        return peak, left

    def _step(self, mode: str) -> tuple[int, int]:
        """Measure the bytes at each position that a step of resampling makes: at the peak, and at the end."""
        few, many = (2, 2), (4, 4)
        source, target = (many, few) if mode == self._spec.downsampling else (few, many)
        with on_meta():
            counted = run(lambda x_BCHW: resample(x_BCHW, target, self._spec), torch.empty(1, 1, *source))
        positions = target[0] * target[1]
        self._steps[mode] = counted.peak // positions, counted.left // positions
        return self._steps[mode]

    def _once(self, key: tuple[Any, ...], make: Callable[[Sizes], tuple[nn.Module, list[int] | int]]) -> Derived:
        if key not in self._known:
            self._known[key] = Derived(make)
        return self._known[key]

    def _make_projection(self, sizes: Sizes) -> tuple[nn.Module, int]:
        return Projection(sizes["read"], self._wide(sizes)), sizes["read"]

    def _make_node(self, sizes: Sizes) -> tuple[nn.Module, int]:
        return _OfOneInput(self._wide(sizes)), sizes["width"]

    def _make_head(self, repeats: int, levels: int, sizes: Sizes) -> tuple[nn.Module, list[int]]:
        return self._head(repeats, levels, sizes["predicted"], sizes), [sizes["width"]]

    def _make_norms(self, repeats: int, levels: int, sizes: Sizes) -> tuple[nn.Module, int]:
        """Return the norms of one level, which leave their input as it is."""
        norms = nn.Identity()
        norms.own = nn.ModuleList(level[0] for level in self._head(repeats, levels, 1, sizes).norms)  # type: ignore[index]
        return norms, sizes["width"]

    def _head(self, repeats: int, levels: int, predicted: int, sizes: Sizes) -> Head:
        topology = Topology(1, levels)
        return Head(dataclasses.replace(self._wide(sizes), head_repeats=repeats, topology=topology), predicted)

    def _wide(self, sizes: Sizes) -> DetectorSpec:
        return dataclasses.replace(self._spec, width=sizes["width"])


def fusion(kind: str, inputs: int, width: int) -> Piece:
    """Return a fusion of `inputs` inputs."""
    return _fusion(kind, inputs).at(width=width)


# Numbers of inputs: those of which the costs of more follow, if each input costs the same, and one at which to check that.
_FEWER, _MORE, _HELD_OUT = 4, 5, 8


@cache
def _fusion(kind: str, inputs: int) -> Derived | Formula:
    return (_of_more(kind, inputs) if inputs > _MORE and _is_regular(kind) else None) or _derived_fusion(kind, inputs)


@cache
def _is_regular(kind: str) -> bool:
    formula = _derived_fusion(kind, _HELD_OUT).formula
    return formula is not None and _of_more(kind, _HELD_OUT) == formula


def _of_more(kind: str, inputs: int) -> Formula | None:
    fewer, more = (_derived_fusion(kind, each).formula for each in (_FEWER, _MORE))
    return more.with_more_like_it(fewer, inputs - _MORE) if fewer and more else None


@cache
def _derived_fusion(kind: str, inputs: int) -> Derived:
    return Derived(lambda sizes: (make_fusion(kind, inputs, sizes["width"]), [sizes["width"]] * inputs))


class _OfOneInput(nn.Module):
    """A node that reads one feature at its own size, so that only the operations after its fusion remain."""

    def __init__(self, spec: DetectorSpec) -> None:
        super().__init__()
        self.node = FusionNode(spec, Node(spec.topology.min_level, (0,), "sum"), [spec.width])

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.node([x_BCHW], (x_BCHW.shape[2], x_BCHW.shape[3]))  # type: ignore[no-any-return]
