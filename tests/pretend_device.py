"""A device that is not there: it computes on the CPU, and counts where the host would wait for a GPU.

Its tensors say that they are on DEVICE, so code takes the branches of a GPU; the values are a CPU's to the bit.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

# A device type without kernels, whose backward pass runs in the caller's thread.
DEVICE = torch.device("lazy")
# Operations whose result has a shape, or a type, that depends on values.
_VALUES = (
    *("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive"),
    *("unique_dim_consecutive", "bincount", "equal", "is_nonzero", "argwhere", "_assert_async"),
)


class _There(Tensor):
    """A tensor on DEVICE, with its values in `values`."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> _There:
        made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=DEVICE,
        )
        made.values = values
        return made  # type: ignore[no-any-return]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} outside of Waits")


class Waits(TorchDispatchMode):
    """Makes DEVICE usable, and counts what makes the host wait, by the operation's name, and copies by their direction."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.launched = 0
        self._pinned: set[int] = set()
        self._calls = _Calls(self)

    def __enter__(self) -> Waits:
        self._calls.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._calls.__exit__(*error)

    def pin(self, tensor: Tensor) -> Tensor:
        pinned = tensor.clone()
        self._pinned.add(pinned.untyped_storage().data_ptr())
        return pinned

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        operands = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        is_there = any(isinstance(each, _There) for each in operands)
        goes_there = is_there
        if kwargs.get("device") is not None:
            goes_there = torch.device(kwargs["device"]) == DEVICE
            kwargs["device"] = "cpu"
        name = func.overloadpacket.__name__
        self._count(name, args, kwargs, is_there=is_there, goes_there=goes_there)
        here_args, here = tree_map_only(_There, lambda tensor: tensor.values, (args, kwargs))
        if name == "_to_copy" and is_there != goes_there:
            here["memory_format"] = here.get("memory_format", torch.preserve_format)
        found = func(*here_args, **here)
        if not goes_there:
            return found
        there = tree_map_only(Tensor, _There, found)
        return return_and_correct_aliasing(func, args, kwargs, there) if is_there else there

    def _count(self, name: str, args: Any, kwargs: Any, *, is_there: bool, goes_there: bool) -> None:
        if name in ("_to_copy", "copy_"):
            into, source = (goes_there, args[0]) if name == "_to_copy" else (isinstance(args[0], _There), args[1])
            if isinstance(source, _There) != into:
                asynchronous = bool(kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2]))
                pinned = not into or source.untyped_storage().data_ptr() in self._pinned
                if not (asynchronous and pinned):
                    self.found["copy to the device" if into else "copy to the host"] += 1
                return
        if not is_there:
            return
        self.launched += 1
        if name in _VALUES or (name == "repeat_interleave" and kwargs.get("output_size") is None):
            self.found[name] += 1
        places = args[1] if name.startswith("index") and isinstance(args[1], (list, tuple)) else []
        if any(isinstance(each, Tensor) and each.dtype in (torch.bool, torch.uint8) for each in places):
            self.found[f"{name} with a mask"] += 1


class _Calls(TorchFunctionMode):
    """Calls that never reach the dispatcher on a device without kernels."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.tensor and torch.device(kwargs.get("device") or "cpu") == DEVICE:
            return func(*args, **{**kwargs, "device": "cpu"}).to(DEVICE)
        if func is Tensor.pin_memory:
            return self._waits.pin(args[0])
        if func is Tensor.new_tensor and isinstance(args[0], _There):
            return args[0].values.new_tensor(*args[1:], **kwargs).to(DEVICE)
        if func is Tensor.tolist and isinstance(args[0], _There):
            self._waits.found["tolist"] += 1
            return args[0].values.tolist()
        if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[1], list):
            args = (args[0], torch.tensor(args[1]).to(args[0].device), *args[2:])
        return func(*args, **kwargs)
