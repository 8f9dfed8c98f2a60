"""The sides of a backbone's features, as arithmetic of the image's: from each convolution's and pooling's kernel and stride."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from scaling_lab.cost.symbols import Symbols

aten = torch.ops.aten
Size = tuple[int, int]


class Side(NamedTuple):
    """A height (axis 0) or width (axis 1): times * ((the image's + shift) // per) + plus."""

    axis: int
    shift: int = 0
    per: int = 1
    times: int = 1
    plus: int = 0

    def at(self, size: Size) -> int:
        """Return the side for an image of this (height, width)."""
        return self.times * ((size[self.axis] + self.shift) // self.per) + self.plus

    def divided(self, more: int, step: int) -> Self | None:
        """Return (this side + more) // step, or None where it has no such form."""
        if self.times == 1:
            return self._replace(shift=self.shift + self.per * (self.plus + more), per=self.per * step, plus=0)
        if self.times % step == 0:
            return self._replace(times=self.times // step, plus=(self.plus + more) // step)
        return None

    def padded_for(self, reach: int, stride: int) -> Self | None:
        """Return the side after TensorFlow's padding for a kernel that spans `reach` >= stride."""
        steps = self.divided(stride - 1, stride)
        if steps is None or steps.times != 1 or steps.plus:
            return None
        return steps._replace(times=stride, plus=reach - stride)


class _Window(NamedTuple):
    """A convolution's or pooling's window along one axis; `reach` is the kernel's span, with dilation."""

    reach: int
    stride: int
    padding: int
    ceil: bool = False

    def of(self, side: Side) -> Side | None:
        """Return the side of its result, or None where it has no such form."""
        more = 2 * self.padding - self.reach + self.stride
        if self.ceil and self.reach < self.padding + self.stride:  # the last window may start beyond the input
            return None
        return side.divided(more + self.ceil * (self.stride - 1), self.stride)


def _along(axis: int, values: Sequence[int], default: Sequence[int] = ()) -> int:
    given = values or default
    return given[axis if len(given) > 1 else 0]


def _convolution(axis: int, _: Tensor, weight: Tensor, *args: Any) -> _Window | None:
    _, stride, padding, dilation, is_transposed = args[:5]
    if is_transposed or weight.dim() != 4:
        return None
    reach = _along(axis, dilation) * (weight.shape[2 + axis] - 1) + 1
    return _Window(reach, _along(axis, stride), _along(axis, padding))


def _max_pooling(
    axis: int,
    _: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil: bool = False,
) -> _Window:
    reach = _along(axis, dilation) * (_along(axis, kernel) - 1) + 1
    return _Window(reach, _along(axis, stride, kernel), _along(axis, padding), ceil)


def _average_pooling(
    axis: int,
    _: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil: bool = False,
    *args: Any,
) -> _Window:
    return _Window(_along(axis, kernel), _along(axis, stride, kernel), _along(axis, padding), ceil)


WINDOWS: dict[Any, Callable[..., _Window | None]] = {
    aten.convolution: _convolution,
    aten.max_pool2d_with_indices: _max_pooling,
    aten.avg_pool2d: _average_pooling,
}
PADDINGS = (aten.constant_pad_nd, aten.reflection_pad2d, aten.replication_pad2d)


class Sides(Symbols):
    """Amounts as polynomials in the sides of features, found while an image of (height, width) `size` is run.

    `equal` are pairs of sides that are equal in this run: the polynomials hold where they are equal. `strides` are the sides
    that layers with a stride read, and the stride.
    """

    def __init__(self, size: Size) -> None:
        super().__init__({})
        self._size = size
        self.sides: dict[str, Side] = {}
        self.equal: set[tuple[str, Side]] = set()
        self.strides: set[tuple[Side, int]] = set()
        self._padded: dict[int, tuple[Side, int]] = {}  # by the side after padding: the one before, and how much
        for axis in (0, 1):
            self._add(Side(axis))

    def saw(self, func: Any, args: tuple[Any, ...], made: Any) -> None:
        """Derive the sides of what a convolution, pooling or padding returns."""
        packet = func._overloadpacket
        if packet not in WINDOWS and packet not in PADDINGS:
            return
        for axis, side in enumerate(args[0].shape[-2:]):
            name = self._names.get(side)
            if name is None:
                continue
            if packet in PADDINGS:
                amount = sum(args[1][2 - 2 * axis : 4 - 2 * axis])
                self._pad(self.sides[name], amount)
            else:
                self._slide(name, WINDOWS[packet](axis, *args))
        height, width = (made if isinstance(made, Tensor) else made[0]).shape[-2:]
        if height in self._names and width in self._names:
            self._areas.setdefault(height * width, (self._names[height], self._names[width]))

    def remainders(self, size: Size) -> set[tuple[Side, int, int]]:
        """Return what remains of each side that is divided by a stride: how layers pad or round may depend on it."""
        return {(side, stride, side.at(size) % stride) for side, stride in self.strides}

    def _pad(self, side: Side, amount: int) -> None:
        padded = side.divided(amount, 1)
        if padded is None or not amount:
            return
        value = padded.at(self._size)
        if self._padded.get(value) != (side, amount):
            self._padded[value] = (side, amount)
            self._add(padded)

    def _slide(self, name: str, window: _Window | None) -> None:
        side = self.sides[name]
        if window is None:
            return
        before, amount = self._padded.get(side.at(self._size), (side, 0))
        if window.stride > 1:
            self.strides |= {(side, window.stride), (before, window.stride)}
        if amount and window.stride > 1 and not window.padding and amount == window.reach - window.stride:
            # As much as TensorFlow pads: at other sizes more.
            fitting = before.padded_for(window.reach, window.stride)
            if fitting is not None and fitting.at(self._size) == side.at(self._size):
                self.sides[name] = side = fitting
        made = window.of(side)
        if made is not None:
            self._add(made)

    def _add(self, side: Side) -> None:
        name = self._names.setdefault(side.at(self._size), f"side {len(self.sides)}")
        if self.sides.setdefault(name, side) != side:
            self.equal.add((name, side))
