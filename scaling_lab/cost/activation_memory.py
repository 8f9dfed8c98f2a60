"""Counts multiply-adds and the bytes of tensors that are alive while modules run, on the meta device.

A tensor counts from the operator that creates it until its last reference is gone, as in eager mode on a real device.
Workspaces of operators and the allocator's cache are not counted.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor, UntypedStorage, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class _Sum(Protocol):
    def __add__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...


# A number of bytes, elements or multiply-adds: a whole number, or a polynomial in sizes.
Amount = TypeVar("Amount", bound=_Sum)


class Reader(Protocol[Amount]):
    """Gives the amounts of tensors and operators."""

    nothing: Amount

    def elements(self, tensor: Tensor) -> Amount:
        """Return a tensor's number of elements."""

    def bytes(self, tensor: Tensor) -> Amount:
        """Return the bytes of a tensor's storage."""

    def macs(self, number: int, made: Tensor) -> Amount:
        """Return the multiply-adds of an operator that does `number` of them and returns `made`."""

    def saw(self, func: Any, args: tuple[Any, ...], made: Any) -> None:
        """Note an operator that ran, before its results are read."""


class Numbers:
    """Amounts as whole numbers."""

    nothing = 0

    def elements(self, tensor: Tensor) -> int:
        """Return a tensor's number of elements."""
        return tensor.numel()

    def bytes(self, tensor: Tensor) -> int:
        """Return the bytes of a tensor's storage."""
        return _storage(tensor).nbytes()

    def macs(self, number: int, made: Tensor) -> int:
        """Return the number."""
        return number

    def saw(self, func: Any, args: tuple[Any, ...], made: Any) -> None:
        """Ignore it."""


class Alive(TorchDispatchMode, Generic[Amount]):
    """Counts the bytes of tensors created within it, as `reader` gives them.

    `now` is the number of bytes alive, `moments` its values after each creation. `macs` and `activations` are the
    multiply-adds and output elements of all operators known to torch's FlopCounterMode.
    """

    def __init__(self, before: Iterable[Tensor], reader: Reader[Amount]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reader = reader
        self.now = self.activations = self.macs = reader.nothing
        self.moments: list[Amount] = []
        self._sizes = {_storage(tensor)._cdata: reader.nothing for tensor in before}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and record its results; views share their base's storage."""
        made = func(*args, **(kwargs or {}))
        self._reader.saw(func, args, made)
        tensors = [each for each in tree_leaves(made) if isinstance(each, Tensor)]
        count_flops = flop_registry.get(func._overloadpacket)
        if count_flops is not None:
            flops = count_flops(*args, **(kwargs or {}), out_val=made)
            self.macs += self._reader.macs(flops // 2, tensors[0])  # attention returns more than its result
            self.activations += self._reader.elements(tensors[0])
        for each in tensors:
            self._note(each)
        return made

    def _note(self, tensor: Tensor) -> None:
        storage = _storage(tensor)
        if storage._cdata not in self._sizes:
            self._sizes[storage._cdata] = own = self._reader.bytes(tensor)
            weakref.finalize(storage, self._free, storage._cdata).atexit = False
            self.now += own
            self.moments.append(self.now)

    def _free(self, key: int) -> None:
        self.now -= self._sizes.pop(key)


def module_tensors(module: nn.Module) -> list[Tensor]:
    """Return a module's weights and buffers."""
    return [*module.parameters(), *module.buffers()]


def distinct(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return one tensor for each storage."""
    return list({_storage(tensor)._cdata: tensor for tensor in tensors}.values())


def size(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of tensors, counting shared storages once."""
    return sum(_storage(tensor).nbytes() for tensor in distinct(tensors))


def _storage(tensor: Tensor) -> UntypedStorage:
    return tensor.untyped_storage()
