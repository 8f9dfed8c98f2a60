"""Reads polynomials off one run of a module: its sizes are distinct large numbers, which shapes are then searched for.

Nothing ensures that a shape depends on sizes as it seems to, so whoever uses a polynomial first compares it with runs at
other sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from scaling_lab.cost.polynomials import Polynomial, constant, product


class Symbols:
    """Amounts as polynomials in the named sizes of a run."""

    nothing = constant(0)

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._names = {value: name for name, value in sizes.items()}
        self._areas: dict[int, tuple[str, str]] = {}  # products that are read as just these two sizes

    def read(self, number: int) -> Polynomial:
        """Return a number as a multiple of a product of sizes, as many as it can be divided by."""
        names = list(self._areas.get(number, ()))
        if names:
            number = 1
        elif number in self._names:
            number, names = 1, [self._names[number]]
        elif number >= min(self._names):
            for value in sorted(self._names, reverse=True):
                while number and number % value == 0:
                    number //= value
                    names.append(self._names[value])
        return Polynomial({product(names): number} if number else {})

    def elements(self, tensor: Tensor) -> Polynomial:
        """Return a tensor's number of elements."""
        elements = constant(1)
        for side in tensor.shape:
            elements *= self.read(side)
        return elements

    def bytes(self, tensor: Tensor) -> Polynomial:
        """Return the bytes of a tensor's storage."""
        held = tensor.untyped_storage().nbytes()
        if held != tensor.numel() * tensor.itemsize:
            return constant(held)
        return self.elements(tensor) * tensor.itemsize

    def macs(self, number: int, made: Tensor) -> Polynomial:
        """Return the multiply-adds of an operator: a number for each element that it makes."""
        each, rest = divmod(number, max(made.numel(), 1))
        return constant(number) if rest else self.elements(made) * self.read(each)

    def saw(self, func: Any, args: tuple[Any, ...], made: Any) -> None:
        """Ignore it."""
