"""Costs of the modules of feature network and heads, each derived once from runs on torch's meta device, for every size.

A piece's inputs and outputs have one height and width. Its costs are polynomials in the width and in the channels that it
reads or predicts, and linear in its number of positions. They are read off one run (symbols.py) and compared with runs at
other sizes. Where they differ, the module is measured at each width.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from scaling_lab.cost.activation_memory import Alive, Amount, Numbers, Reader, distinct, module_tensors
from scaling_lab.cost.polynomials import Polynomial, largest, values_of
from scaling_lab.cost.symbols import Symbols

BYTES = 4  # in a float32


@dataclass(frozen=True, kw_only=True)
class PartMemory:
    """Bytes of one part: its weights and buffers, its peak besides the inputs, and its outputs."""

    weights: int
    peak: int
    outputs: int


# --- runs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Run(Generic[Amount]):
    """One run of a module: bytes of weights, bytes alive after each creation of a tensor, bytes of outputs."""

    params: Amount
    macs: Amount
    activations: Amount
    weights: Amount
    moments: tuple[Amount, ...]
    left: Amount
    outputs: tuple[Tensor, ...]

    @property
    def peak(self: Run[int]) -> int:
        """The peak number of bytes, besides weights and inputs."""
        return max(self.moments, default=0)


def run(module: nn.Module | Callable[[Any], Any], inputs: Tensor | list[Tensor]) -> Run[int]:
    """Run a module of the meta device on tensors there. Its inputs do not count as alive."""
    return observed(module, inputs, Numbers())


def observed(
    module: nn.Module | Callable[[Any], Any], inputs: Tensor | list[Tensor], reader: Reader[Amount]
) -> Run[Amount]:
    """Run a module like `run`, with amounts as a reader gives them."""
    parameters = list(module.parameters()) if isinstance(module, nn.Module) else []
    own = module_tensors(module) if isinstance(module, nn.Module) else []
    given = [inputs] if isinstance(inputs, Tensor) else inputs
    with torch.no_grad(), Alive([*own, *given], reader) as alive:
        outputs = module(inputs)
        left = alive.now
    return Run(
        params=sum((reader.elements(each) for each in parameters), start=reader.nothing),
        macs=alive.macs,
        activations=alive.activations,
        weights=sum((reader.bytes(each) for each in distinct(own)), start=reader.nothing),
        moments=tuple(alive.moments),
        left=left,
        outputs=(outputs,) if isinstance(outputs, Tensor) else tuple(outputs),
    )


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


# --- pieces ----------------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """A number that grows with the positions: each * positions + fixed."""

    each: int
    fixed: int

    def at(self, positions: int) -> int:
        """Return it for a number of positions."""
        return self.each * positions + self.fixed

    def more(self, less: Line, times: int) -> Line:
        """Return the line with `times` more of what this line has and `less` lacks."""
        return Line(self.each + times * (self.each - less.each), self.fixed + times * (self.fixed - less.fixed))


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A module's cost. `left` are the bytes of its result, `moments` those alive besides weights and inputs while it runs."""

    params: int
    weights: int
    macs: Line
    activations: Line
    left: Line
    moments: tuple[Line, ...]

    def peak(self, positions: int) -> int:
        """Return the peak number of bytes while it runs."""
        return max([each * positions + fixed for each, fixed in self.moments], default=0)

    def with_more_like_it(self, less: Piece, times: int) -> Piece:
        """Return the piece with `times` more of what this piece has and `less` lacks, executed last."""
        return Piece(
            params=self.params + times * (self.params - less.params),
            weights=self.weights + times * (self.weights - less.weights),
            macs=self.macs.more(less.macs, times),
            activations=self.activations.more(less.activations, times),
            left=self.left,
            moments=self.moments,
        )


Sizes: TypeAlias = Mapping[str, int]
# Returns a module for these sizes, and the channels that it reads: of a list of tensors, or of one tensor.
Make: TypeAlias = Callable[[Sizes], tuple[nn.Module, list[int] | int]]

# Sizes of a piece: primes, and those at which the polynomials are compared with a run. Positions are in `columns` columns.
_PRIMES = {"positions": 10007, "width": 10009, "read": 10037, "predicted": 10039}
_HELD_OUT = (
    {"positions": 6, "columns": 2, "width": 24, "read": 40, "predicted": 15},
    {"positions": 35, "columns": 7, "width": 11, "read": 3, "predicted": 64},
)


def _run_at(make: Make, sizes: Sizes, reader: Reader[Amount]) -> Run[Amount]:
    with on_meta():
        module, channels = make(sizes)
        shapes = [channels] if isinstance(channels, int) else channels
        columns = sizes.get("columns", 1)
        tensors = [torch.empty(1, each, sizes["positions"] // columns, columns) for each in shapes]
        return observed(module.eval(), tensors[0] if isinstance(channels, int) else tensors, reader)


class Formula:
    """A piece at all sizes: `numbers` are those of a Piece as polynomials, in its order."""

    def __init__(self, numbers: Sequence[Polynomial]) -> None:
        self._numbers = tuple(numbers)
        self._products = {product for one in numbers for product in one.terms}

    def at(self, **sizes: int) -> Piece:
        """Return the piece at these sizes."""
        values = values_of(self._products, sizes)
        params, weights, *rest = [number.at(values) for number in self._numbers]
        macs, activations, left, *moments = map(Line, rest[::2], rest[1::2])
        return Piece(
            params=params, weights=weights, macs=macs, activations=activations, left=left, moments=tuple(moments)
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Formula) and self._numbers == other._numbers

    __hash__ = None  # type: ignore[assignment]

    def with_more_like_it(self, less: Formula, times: int) -> Formula | None:
        """Return the formula with `times` more of what this one has and `less` lacks, or None if they differ in kind."""
        pairs = list(zip(self._numbers, less._numbers, strict=False))
        if not len(pairs) == len(self._numbers) == len(less._numbers):
            return None
        return Formula([own + (own - other) * times for own, other in pairs])


def _derive(make: Make) -> Formula | None:
    """Return a module's formula, or None where its costs have none."""
    derived = _run_at(make, _PRIMES, Symbols(_PRIMES))
    sums = (derived.params, derived.weights, derived.macs, derived.activations, derived.left, *derived.moments)
    products = {product for one in sums for product in one.terms}
    for sizes in _HELD_OUT:
        ran, values = _run_at(make, sizes, Numbers()), values_of(products, sizes)
        numbers = (ran.params, ran.weights, ran.macs, ran.activations, ran.left, *ran.moments)
        if numbers != tuple(one.at(values) for one in sums):
            return None
    lines = (derived.macs, derived.activations, derived.left, *largest(derived.moments))
    try:
        return Formula([*sums[:2], *itertools.chain(*[line.linear_in("positions") for line in lines])])
    except ValueError:  # not linear
        return None


def _measured(make: Make, sizes: Sizes) -> Piece:
    """Return the cost of a module from two runs, which separate what grows with the positions from what does not."""
    few, many = 4, 8
    small, large = (_run_at(make, {**sizes, "positions": positions}, Numbers()) for positions in (few, many))

    def line(less: int, more: int) -> Line:
        each = (more - less) // (many - few)
        return Line(each, less - each * few)

    return Piece(
        params=small.params,
        weights=small.weights,
        macs=line(small.macs, large.macs),
        activations=line(small.activations, large.activations),
        left=line(small.left, large.left),
        moments=tuple(line(*pair) for pair in zip(small.moments, large.moments, strict=True)),
    )


class Derived:
    """A piece at all sizes: by its formula or, where it has none, measured at each width."""

    def __init__(self, make: Make) -> None:
        self._make, self.formula = make, _derive(make)
        self._measured: dict[tuple[int, ...], Piece] = {}

    def at(self, **sizes: int) -> Piece:
        """Return the piece at these sizes, which have the same names at each call."""
        if self.formula is not None:
            return self.formula.at(**sizes)
        key = tuple(sizes.values())
        if key not in self._measured:
            self._measured[key] = _measured(self._make, sizes)
        return self._measured[key]
