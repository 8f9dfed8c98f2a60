"""Several workers that train one detector: their shares of a batch, and sums over torch's process group.

Who starts the workers also calls torch.distributed.init_process_group in each.
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
    """Give this worker's number, from 0; worker 0 alone writes, reports and measures AP."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """Count the workers."""
    return dist.get_world_size() if dist.is_initialized() else 1


@dataclass(frozen=True)
class Share(Batches):
    """A worker's share of each batch."""

    def indices(self) -> list[list[int]]:
        """The indices of the worker's images of each batch."""
        return [np.array_split(indices, size())[rank()].tolist() for indices in super().indices()]


def summed(values: Tensor) -> Tensor:
    """Add up all workers' tensors."""
    if size() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def gathered(values: Tensor) -> Tensor:
    """Stack all workers' tensors of one shape, in the order of their ranks."""
    everyones = [torch.empty_like(values) for _ in range(size())]
    dist.all_gather(everyones, values)
    return torch.stack(everyones)


def joined(items: list[Any]) -> list[Any]:
    """Put all workers' lists into one."""
    if size() == 1:
        return items
    lists: list[Any] = [None] * size()
    dist.all_gather_object(lists, items)
    return [item for each in lists for item in each]


def from_main(value: Any) -> Any:
    """Give worker 0's value to all."""
    if size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


@torch.no_grad()
def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by the sum of all workers'."""
    if size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    total = summed(torch.cat([gradient.flatten() for gradient in gradients]))
    values = torch.split(total, [gradient.numel() for gradient in gradients])
    for gradient, sums in zip(gradients, values, strict=True):
        gradient.copy_(sums.view_as(gradient))
