"""Batch norm over the images of all workers: torch's kernels on GPUs, the same steps in plain torch elsewhere.

torch's SyncBatchNorm does not run on CPUs, waits for the GPU in every norm, and drops timm's activations.

Shapes: B this worker's images, C channels, R workers.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from scaling_lab.training import group
from scaling_lab.training.norm_kernels import PlainKernels


def synchronise_norms(model: nn.Module) -> None:
    """Make a model's batch norms use all workers' images in training. Names and parameters do not change."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.forward = partial(_forward, module)  # type: ignore[method-assign]


def _forward(norm: Any, x_BCHW: Tensor) -> Any:
    if not norm.training:
        return type(norm).forward(norm, x_BCHW)
    norm.num_batches_tracked.add_(1)
    running = (norm.running_mean, norm.running_var, norm.momentum, norm.eps)
    output_BCHW = _Normalise.apply(x_BCHW, norm.weight, norm.bias, *running)
    # timm's norms include the following dropout and activation.
    for follower in ("drop", "act"):
        if hasattr(norm, follower):
            output_BCHW = getattr(norm, follower)(output_BCHW)
    return output_BCHW


class _Normalise(torch.autograd.Function):
    """Normalises and updates the running statistics. Gradients of weight and bias are this worker's share."""

    @staticmethod
    def forward(
        ctx: Any,
        x_BCHW: Tensor,
        weight_C: Tensor,
        bias_C: Tensor,
        running_mean_C: Tensor,
        running_var_C: Tensor,
        momentum: float,
        epsilon: float,
    ) -> Tensor:
        x_BCHW, kernels = _dense(x_BCHW), _kernels(x_BCHW)
        channels = len(weight_C)
        mean_C, scale_C = kernels.batch_norm_stats(x_BCHW, epsilon)
        count_1 = mean_C.new_full((1,), x_BCHW.numel() // channels)
        everyones_RX = group.gathered(torch.cat([mean_C, scale_C, count_1]))
        mean_RC, scale_RC, count_R1 = (
            each.contiguous() for each in torch.split(everyones_RX, [channels, channels, 1], dim=1)
        )
        running = (running_mean_C, running_var_C, momentum, epsilon)
        mean_C, scale_C = kernels.batch_norm_gather_stats_with_counts(
            x_BCHW, mean_RC, scale_RC, *running, count_R1.flatten()
        )
        ctx.save_for_backward(x_BCHW, weight_C, mean_C, scale_C, count_R1.flatten().to(torch.int32))
        return kernels.batch_norm_elemt(x_BCHW, weight_C, bias_C, mean_C, scale_C, epsilon)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_BCHW, weight_C, mean_C, scale_C, count_R = ctx.saved_tensors
        gradient_BCHW, kernels = _dense(gradients[0]), _kernels(x_BCHW)
        own = (gradient_BCHW, x_BCHW, mean_C, scale_C, weight_C)
        *sums, weight_gradient_C, bias_gradient_C = kernels.batch_norm_backward_reduce(*own, True, True, True)
        everyones = group.summed(torch.cat(sums)).chunk(2)
        input_gradient = kernels.batch_norm_backward_elemt(*own, *everyones, count_R)
        return input_gradient, weight_gradient_C, bias_gradient_C, None, None, None, None


def _kernels(x_BCHW: Tensor) -> Any:
    return torch if x_BCHW.is_cuda else PlainKernels


def _dense(x_BCHW: Tensor) -> Tensor:
    """Return the tensor in a layout that the kernels take: channels last, or contiguous."""
    return x_BCHW if x_BCHW.is_contiguous(memory_format=torch.channels_last) else x_BCHW.contiguous()
