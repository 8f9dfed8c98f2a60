"""Data-parallel workers that train one detector: shares of a batch, and collective operations of torch.distributed.

The caller starts the workers and calls torch.distributed.init_process_group in each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from scaling_lab.data.batches import Batches


def rank() -> int:
    """Return this worker's rank, from 0. Only worker 0 writes and reports."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """Return the number of workers."""
    return dist.get_world_size() if dist.is_initialized() else 1


@dataclass(frozen=True)
class Share(Batches):
    """A worker's share of each batch."""

    def indices(self) -> list[list[int]]:
        """Return the indices of the worker's images in each batch."""
        return [np.array_split(indices, size())[rank()].tolist() for indices in super().indices()]


@dataclass(frozen=True)
class OwnBatches(Batches):
    """A worker's batches of a pass that all workers share: whole ones, in turn."""

    def indices(self) -> list[list[int]]:
        """Return the image indices of each of the worker's batches."""
        return super().indices()[rank() :: size()]

    def __len__(self) -> int:
        return len(range(rank(), super().__len__(), size()))


def summed(values: Tensor) -> Tensor:
    """Return the sum of all workers' tensors."""
    if size() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def gathered(values: Tensor) -> Tensor:
    """Return all workers' tensors of equal shape, stacked by rank."""
    everyones = values.new_empty((size(), *values.shape))
    if values.is_cuda:
        dist.all_gather_into_tensor(everyones, values)
    else:  # gloo knows lists alone
        dist.all_gather(list(everyones), values)
    return everyones


def joined(items: list[Any]) -> list[Any]:
    """Return all workers' lists, concatenated by rank."""
    if size() == 1:
        return items
    lists: list[Any] = [None] * size()
    dist.all_gather_object(lists, items)
    return [item for each in lists for item in each]


def from_main(value: Any) -> Any:
    """Return worker 0's value in all workers."""
    if size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def spread(tensors: Iterable[Tensor]) -> None:
    """Set tensors of one type to worker 0's values, in all workers."""
    if size() > 1 and (own := list(tensors)):
        flat = torch.cat([tensor.flatten() for tensor in own])
        dist.broadcast(flat, 0)
        _copy_parts(flat, own)


def any_of(wishes: list[bool]) -> list[bool]:
    """Return which of the wishes at least one worker has. No GPU takes part."""
    if size() == 1:
        return wishes
    found = torch.tensor(wishes, dtype=torch.int32)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return [bool(each) for each in found.tolist()]


@torch.no_grad()
def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its sum over all workers."""
    if size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    _copy_parts(summed(torch.cat([gradient.flatten() for gradient in gradients])), gradients)


def _copy_parts(flat: Tensor, tensors: list[Tensor]) -> None:
    """Copy the consecutive parts of a flat tensor into tensors."""
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))
