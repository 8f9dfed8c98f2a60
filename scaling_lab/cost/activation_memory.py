"""The bytes of tensors that are alive while modules run, counted without running them: on the meta device. No allocator's own.

A tensor counts from the operator that makes it until its last reference is gone, as it would on a real device in eager
mode; what an operator needs inside itself (a convolution's copy of its weights in another order) is not seen.
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
    """Counts the bytes of tensors that are made under it; those that were there before do not count.

    `now` is what is alive, `moments` what was whenever a tensor had been made. `activations` are the elements of the results
    of all operators that multiply and add, those that torch's FlopCounterMode knows.
    """

    def __init__(self, before: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.activations = 0
        self.moments: list[int] = []
        self._sizes = {_storage(tensor)._cdata: 0 for tensor in before}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and note what it has made; views share the storage of what they show."""
        made = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.activations += (
                made if isinstance(made, Tensor) else made[0]
            ).numel()  # attention gives more than its result
        for each in tree_leaves(made):
            if isinstance(each, Tensor):
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
    """Give a module's weights and buffers."""
    return [*module.parameters(), *module.buffers()]


def size(tensors: Iterable[Tensor]) -> int:
    """Give the bytes of tensors, those that share a storage once."""
    return sum({_storage(tensor)._cdata: _storage(tensor).nbytes() for tensor in tensors}.values())


def _storage(tensor: Tensor) -> UntypedStorage:
    return tensor.untyped_storage()
