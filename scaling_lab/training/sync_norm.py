"""Batch norm over the images of all workers. torch's own does not run on CPUs and drops timm's activations.

Shapes: B this worker's images, C channels, R workers.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from scaling_lab.training import group


def synchronise_norms(model: nn.Module) -> None:
    """Make a model's batch norms use all workers' images in training. Names and parameters do not change."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.forward = partial(_forward, module)  # type: ignore[method-assign]


def _forward(norm: Any, x_BCHW: Tensor) -> Any:
    if not norm.training:
        return type(norm).forward(norm, x_BCHW)
    output_BCHW, mean_C, variance_C = _Normalise.apply(x_BCHW, norm.weight, norm.bias, norm.eps)
    norm.running_mean.lerp_(mean_C, norm.momentum)
    norm.running_var.lerp_(variance_C, norm.momentum)
    norm.num_batches_tracked.add_(1)
    # timm's norms include the following dropout and activation.
    for follower in ("drop", "act"):
        if hasattr(norm, follower):
            output_BCHW = getattr(norm, follower)(output_BCHW)
    return output_BCHW


class _Normalise(torch.autograd.Function):
    """Normalises; also returns mean and unbiased variance. Gradients of weight and bias are this worker's share."""

    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, weight_C: Tensor, bias_C: Tensor, epsilon: float) -> tuple[Tensor, ...]:
        x = x_BCHW.float()
        variance_C, mean_C = torch.var_mean(x, (0, 2, 3), correction=0)
        own = torch.cat([mean_C, variance_C, mean_C.new_tensor([x.numel() / len(mean_C)])])
        everyones_RV = group.gathered(own)
        count_R1 = everyones_RV[:, -1:]
        means_RC, variances_RC = everyones_RV[:, :-1].chunk(2, dim=1)
        count = count_R1.sum()
        mean_C = (count_R1 * means_RC).sum(0) / count
        variance_C = (count_R1 * (variances_RC + (means_RC - mean_C) ** 2)).sum(0) / count
        scale_C = torch.rsqrt(variance_C + epsilon)
        ctx.save_for_backward(x_BCHW, weight_C, mean_C, scale_C, count)
        output = (x - _wide(mean_C)) * _wide(scale_C * weight_C) + _wide(bias_C)
        return output.to(x_BCHW.dtype), mean_C, variance_C * (count / (count - 1))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_BCHW, weight_C, mean_C, scale_C, count = ctx.saved_tensors
        gradient = gradients[0].float()
        normal = (x_BCHW.float() - _wide(mean_C)) * _wide(scale_C)
        bias_gradient_C = gradient.sum((0, 2, 3))
        weight_gradient_C = (gradient * normal).sum((0, 2, 3))
        means_2C = group.summed(torch.stack([bias_gradient_C, weight_gradient_C])) / count
        inner = gradient - _wide(means_2C[0]) - normal * _wide(means_2C[1])
        input_gradient = (inner * _wide(scale_C * weight_C)).to(x_BCHW.dtype)
        return input_gradient, weight_gradient_C, bias_gradient_C, None


def _wide(values_C: Tensor) -> Tensor:
    return values_C[:, None, None]
