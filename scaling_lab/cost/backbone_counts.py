"""Counts a backbone at any image size: run on shapes at the first size, by arithmetic from the second on.

One run at a large size gives each convolution's multiply-adds and each tensor's bytes as products of the sides of features
(sides.py). These are compared with runs at other sizes, operator by operator. Where they differ, as with some attention, or
the backbone does not run at these sizes, it is run at every size. It is also run where a side is a single pixel, or leaves a
remainder, divided by a layer's stride, that no run had before.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import nn

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.cost.counts import PartCost
from scaling_lab.cost.pieces import BYTES, PartMemory, Run, observed, on_meta, run
from scaling_lab.cost.polynomials import Polynomial, Product, largest, values_of
from scaling_lab.cost.sides import Side, Sides, Size
from scaling_lab.errors import UserError, first_line
from scaling_lab.model.backbone import make_backbone

# The shape (C, H, W) of each backbone feature, finest first.
Shapes3 = tuple[tuple[int, int, int], ...]
Counted = tuple[PartCost, PartMemory, Shapes3]

# Primes times the coarsest stride: no channels, and no two sides down to it, are equal.
_LARGE = (64 * 1009, 64 * 1013)
# Halved again and again, rounded up or down, some of their heights are even and some odd, and so are their widths.
_HELD_OUT = ((193, 189), (236, 172), (66, 98))


def count_backbone(spec: DetectorSpec) -> Counted:
    """Return cost, memory and feature shapes of the backbone, up to the topology's levels."""
    options = json.dumps(spec.backbone_options, sort_keys=True) if spec.backbone_options else "{}"
    return _count(spec.backbone, options, spec.topology.min_level, spec.topology.max_level, spec.image_size)


@lru_cache(maxsize=4096)
def _count(name: str, options: str, min_level: int, max_level: int, image_size: Size) -> Counted:
    return _backbone(name, options, min_level, max_level).at(image_size)


@lru_cache(maxsize=256)
def _backbone(name: str, options: str, min_level: int, max_level: int) -> _Backbone:
    return _Backbone(name, options, min_level, max_level)


@lru_cache(maxsize=16)
def _module(name: str, options: str, min_level: int, max_level: int) -> nn.Module:
    with on_meta():
        return make_backbone(name, min_level, max_level, **json.loads(options))[0].eval()


class _Backbone:
    def __init__(self, name: str, *others: str | int) -> None:
        self._name, self._key = name, (name, *others)
        self._first: Size | None = None
        self._formula: Formula | None = None
        self._is_derived = False

    def at(self, size: Size) -> Counted:
        """Return the counts at an image size. Raises UserError where the backbone cannot be run."""
        if self._first in (None, size):
            self._first = size
            return _counted(self._ran(size))
        if not self._is_derived:
            self._formula, self._is_derived = derive(_module(*self._key)), True
        counted = self._formula and self._formula.at(size)
        if counted:
            return counted
        ran = self._ran(size)
        if self._formula and not self._formula.learns(ran, size):
            self._formula = None
        return _counted(ran)

    def _ran(self, size: Size) -> Run[int]:
        module = _module(*self._key)
        try:
            return _run(module, size)
        except Exception as error:  # any error of the backbone's code
            raise UserError(
                f"the backbone {self._name} cannot be counted at {size[0]}x{size[1]}: {first_line(error)} (it is run on "
                "shapes only, so its code must not read tensor values)"
            ) from error


def _run(module: nn.Module, size: Size) -> Run[int]:
    with on_meta():
        return run(module, torch.empty(1, 3, *size))


def _counted(counted: Run[int]) -> Counted:
    cost = PartCost(params=counted.params, macs=counted.macs, activations=counted.activations)
    outputs = sum(BYTES * x.numel() for x in counted.outputs)
    return cost, PartMemory(weights=counted.weights, peak=counted.peak, outputs=outputs), _shapes(counted)


def _shapes(counted: Run[int]) -> Shapes3:
    return tuple((x.shape[1], x.shape[2], x.shape[3]) for x in counted.outputs)


# --- by arithmetic ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Formula:
    """A backbone's counts as polynomials in the sides of its features.

    They hold where each side leaves a remainder, divided by the stride of a layer that reads it, that a run has confirmed.
    """

    sides: Sides
    params: Polynomial
    macs: Polynomial
    activations: Polynomial
    weights: Polynomial
    moments: tuple[Polynomial, ...]
    most: tuple[Polynomial, ...]  # of the moments, those that can be the peak
    shapes: tuple[tuple[Polynomial, ...], ...]
    products: frozenset[Product]
    confirmed: set[tuple[Side, int, int]] = field(default_factory=set)

    def at(self, size: Size) -> Counted | None:
        """Return the counts at an image size, or None where it is not known that the polynomials hold."""
        values = self._values(size)
        if values is None or not self.sides.remainders(size) <= self.confirmed:
            return None
        return self._counted(values)

    def learns(self, ran: Run[int], size: Size) -> bool:
        """Confirm the polynomials by a run at an image size; return whether they are equal, operator by operator."""
        values = self._values(size)
        if values is None:
            return True  # they do not claim to hold
        moments = tuple(moment.at(values) for moment in self.moments)
        is_equal = moments == ran.moments and self._counted(values) == _counted(ran)
        if is_equal:
            self.confirmed.update(self.sides.remainders(size))
        return is_equal

    def _counted(self, values: Mapping[Product, int]) -> Counted:
        shapes = tuple(tuple(side.at(values) for side in shape) for shape in self.shapes)
        cost = PartCost(
            params=self.params.at(values), macs=self.macs.at(values), activations=self.activations.at(values)
        )
        memory = PartMemory(
            weights=self.weights.at(values),
            peak=max((moment.at(values) for moment in self.most), default=0),
            outputs=sum(BYTES * channels * height * width for channels, height, width in shapes),
        )
        return cost, memory, shapes  # type: ignore[return-value]

    def _values(self, size: Size) -> dict[Product, int] | None:
        sides = {name: side.at(size) for name, side in self.sides.sides.items()}
        if min(sides.values()) < 2 or any(sides[name] != side.at(size) for name, side in self.sides.equal):
            return None
        return values_of(self.products, sides)


def derive(module: nn.Module) -> Formula | None:
    """Return a backbone's formula, or None where runs at other sizes differ from it or fail."""
    try:
        formula = _derived(module)
        is_exact = all(formula.learns(_run(module, size), size) for size in _HELD_OUT)
    except Exception:  # any error of the backbone's code, which need not run at these sizes
        return None
    return formula if is_exact else None


def _derived(module: nn.Module) -> Formula:
    sides = Sides(_LARGE)
    with on_meta():
        counted = observed(module, torch.empty(1, 3, *_LARGE), sides)
    shapes = tuple(tuple(sides.read(side) for side in x.shape[1:]) for x in counted.outputs)
    sums = (counted.params, counted.macs, counted.activations, counted.weights, *counted.moments)
    return Formula(
        sides=sides,
        params=counted.params,
        macs=counted.macs,
        activations=counted.activations,
        weights=counted.weights,
        moments=counted.moments,
        most=largest(counted.moments),
        shapes=shapes,
        products=frozenset(each for one in (*sums, *itertools.chain(*shapes)) for each in one.terms),
    )
