"""The operators of a whole detector, counted on shapes alone: features with which its latency grows on any backend."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.cost.pieces import on_meta
from scaling_lab.latency.features import Features
from scaling_lab.model import build

_FREE = (
    "view",
    "reshape",
    "permute",
    "unbind",
    "detach",
    "empty",
    "native_batch_norm",
)  # norms are folded for inference


@lru_cache(maxsize=256)
def _operators(spec: DetectorSpec) -> tuple[tuple[str, float], ...]:
    counting = _Counting()
    with on_meta():
        detector = build(spec).eval()
        with torch.no_grad(), counting:
            outputs = detector(torch.empty(1, 3, *spec.image_size))
    found = counting.found
    found["logits"] = float(sum(each.numel() for each in outputs[0]))
    return tuple(found.items())


def operators(spec: DetectorSpec, *, end_to_end: bool) -> Features:
    """Return the features of one image, by name.

    - "one", and "calls": operators that run
    - "pointwise", "depthwise" and "dense": multiply-adds of convolutions with 1x1, one-channel and other kernels
    - "pointwise made", …: their output elements
    - "elementwise": output elements of all other operators
    - "logits": class logits, which post-processing reads, if `end_to_end`
    """
    found = dict(_operators(spec))
    if not end_to_end:
        found.pop("logits")
    return {"one": 1.0, **found}


class _Counting(TorchDispatchMode):
    """Adds up the operators that run within it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Features = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        name = str(func._overloadpacket).partition(".")[2]
        first = made[0] if isinstance(made, (tuple, list)) else made
        if name in _FREE or not isinstance(first, Tensor):
            return made
        self._add("calls", 1.0)
        if name == "convolution":
            weight, groups = args[1], args[8]
            kind = "depthwise" if groups > 1 else "pointwise" if weight.shape[2:].numel() == 1 else "dense"
            self._add(kind, float(first.numel() * weight[0].numel()))
            self._add(f"{kind} made", float(first.numel()))
        else:
            self._add("elementwise", float(first.numel()))
        return made

    def _add(self, name: str, value: float) -> None:
        self.found[name] = self.found.get(name, 0.0) + value
