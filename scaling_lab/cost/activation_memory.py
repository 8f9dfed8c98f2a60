"""Counts the bytes of tensors that are alive while modules run, on the meta device.

A tensor counts from the operator that creates it until its last reference is gone, as in eager mode on a real device.
Workspaces of operators and the allocator's cache are not counted.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

from torch import Tensor, UntypedStorage, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors created within it.

    `now` is the number of bytes alive, `moments` its values after each creation. `activations` is the number of output
    elements of all multiply-add operators, those known to torch's FlopCounterMode.
    """

    def __init__(self, before: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.activations = 0
        self.moments: list[int] = []
        self._sizes = {_storage(tensor)._cdata: 0 for tensor in before}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and record its results; views share their base's storage."""
        made = func(*args, **(kwargs or {}))
        tensors = [each for each in tree_leaves(made) if isinstance(each, Tensor)]
        if func._overloadpacket in flop_registry:
            self.activations += tensors[0].numel()  # attention returns more than its result
        for each in tensors:
            self._note(_storage(each))
        return made

    def _note(self, storage: UntypedStorage) -> None:
        if storage._cdata not in self._sizes:
            self._sizes[storage._cdata] = storage.nbytes()
            weakref.finalize(storage, self._free, storage._cdata).atexit = False
            self.now += storage.nbytes()
            self.moments.append(self.now)

    def _free(self, key: int) -> None:
        self.now -= self._sizes.pop(key)


def module_tensors(module: nn.Module) -> list[Tensor]:
    """Return a module's weights and buffers."""
    return [*module.parameters(), *module.buffers()]


def size(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of tensors, counting shared storages once."""
    return sum({_storage(tensor)._cdata: _storage(tensor).nbytes() for tensor in tensors}.values())


def _storage(tensor: Tensor) -> UntypedStorage:
    return tensor.untyped_storage()
