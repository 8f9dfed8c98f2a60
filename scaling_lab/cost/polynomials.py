"""Polynomials in named sizes, with whole coefficients: what a module costs at every size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

# The names of a product, sorted; the empty product is 1.
Product: TypeAlias = tuple[str, ...]


class Polynomial:
    """A sum of products of named sizes: `terms` maps each product to its coefficient."""

    __slots__ = ("terms",)

    def __init__(self, terms: Mapping[Product, int]) -> None:
        self.terms = terms

    def __add__(self, other: Polynomial) -> Polynomial:
        return self._plus(other, 1)

    def __sub__(self, other: Polynomial) -> Polynomial:
        return self._plus(other, -1)

    def _plus(self, other: Polynomial, times: int) -> Polynomial:
        terms = dict(self.terms)
        for product, coefficient in other.terms.items():
            terms[product] = terms.get(product, 0) + times * coefficient
        return Polynomial({product: coefficient for product, coefficient in terms.items() if coefficient})

    def __mul__(self, other: Polynomial | int) -> Polynomial:
        terms: dict[Product, int] = {}
        factors = constant(other) if isinstance(other, int) else other
        for names, coefficient in self.terms.items():
            for more, factor in factors.terms.items():
                key = product((*names, *more))
                terms[key] = terms.get(key, 0) + coefficient * factor
        return Polynomial(terms)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Polynomial) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))

    def linear_in(self, name: str) -> tuple[Polynomial, Polynomial]:
        """Return (a, b), free of `name`, for a polynomial that is a * name + b. Raises ValueError for others."""
        by_degree: tuple[dict[Product, int], dict[Product, int]] = ({}, {})
        for product, coefficient in self.terms.items():
            degree = product.count(name)
            if degree > 1:
                raise ValueError(f"not linear in {name}")
            by_degree[degree][tuple(each for each in product if each != name)] = coefficient
        fixed, each = by_degree
        return Polynomial(each), Polynomial(fixed)

    def at(self, products: Mapping[Product, int]) -> int:
        """Return its value where its products have these values."""
        return sum([coefficient * products[product] for product, coefficient in self.terms.items()])

    def bounds(self, other: Polynomial) -> bool:
        """Return whether each coefficient is at least the other's, so that it is never less at sizes from 0."""
        terms, others = self.terms, other.terms
        return all(terms.get(product, 0) >= coefficient for product, coefficient in others.items()) and all(
            coefficient >= 0 or product in others for product, coefficient in terms.items()
        )


CONSTANT: Product = ()


def constant(value: int) -> Polynomial:
    """Return the polynomial with this value everywhere."""
    return Polynomial({CONSTANT: value} if value else {})


def product(names: Iterable[str]) -> Product:
    """Return a product in the order that makes equal products equal."""
    return tuple(sorted(names))


def largest(polynomials: Iterable[Polynomial]) -> tuple[Polynomial, ...]:
    """Return those of them that no other one bounds: at any sizes, one of these has the largest value."""
    kept: list[Polynomial] = []
    for each in dict.fromkeys(polynomials):
        if not any(other.bounds(each) for other in kept):
            kept = [other for other in kept if not each.bounds(other)] + [each]
    return tuple(kept)


def values_of(products: Iterable[Product], sizes: Mapping[str, int]) -> dict[Product, int]:
    """Return the values of products at these sizes."""
    values = {}
    for names in products:
        value = 1
        for name in names:
            value *= sizes[name]
        values[names] = value
    return values
