"""The bytes of tensors that are alive while modules run, counted without running them: on the meta device. No allocator's own.

A tensor counts from the operator that makes it until its last reference is gone, as it would on a real device in eager
mode; what an operator needs inside itself (a convolution's copy of its weights in another order) is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, UntypedStorage, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True, kw_only=True)
class PartMemory:
    """Bytes of one part: its weights and buffers, the most that is alive while it runs beside its inputs, and its outputs."""

    weights: int
    peak: int
    outputs: int


class Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the tensors that are made under it; those that were there before do not count. `peak` is the most at once."""

    def __init__(self, before: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._sizes = {_storage(tensor)._cdata: 0 for tensor in before}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and note what it has made; views share the storage of what they show."""
        made = func(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            if isinstance(each, Tensor):
                self._note(_storage(each))
        return made

    def _note(self, storage: UntypedStorage) -> None:
        if storage._cdata not in self._sizes:
            self._sizes[storage._cdata] = storage.nbytes()
            weakref.finalize(storage, self._free, storage._cdata).atexit = False
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)

    def _free(self, key: int) -> None:
        self.now -= self._sizes.pop(key)


def module_tensors(module: nn.Module) -> list[Tensor]:
    """Give a module's weights and buffers."""
    return [*module.parameters(), *module.buffers()]


def size(tensors: Iterable[Tensor]) -> int:
    """Give the bytes of tensors, those that share a storage once."""
    return sum({_storage(tensor)._cdata: _storage(tensor).nbytes() for tensor in tensors}.values())


def inference_memory(
    image: int, backbone: PartMemory, network: PartMemory, heads: tuple[PartMemory, PartMemory]
) -> int:
    """Give the most bytes that are alive in a whole detector, from its parts' and the image's: model/detector.py's order."""
    classes, boxes = heads
    peaks = (
        backbone.peak,
        backbone.outputs + network.peak,
        network.outputs + classes.peak,
        network.outputs + classes.outputs + boxes.peak,
    )
    return image + sum(part.weights for part in (backbone, network, *heads)) + max(peaks)


def _storage(tensor: Tensor) -> UntypedStorage:
    return tensor.untyped_storage()
