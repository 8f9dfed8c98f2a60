"""The five kernels of torch's SyncBatchNorm in plain torch, for devices on which torch has none.

Shapes: B images, C channels, R workers. `scale` is 1 / sqrt(variance + epsilon). Sums are over images and positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

_OVER = (0, 2, 3)


class PlainKernels:
    """Functions of the names, arguments and results of torch.batch_norm_…"""

    @staticmethod
    def batch_norm_stats(x_BCHW: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        """Return mean (C) and scale (C) of this worker's images, in float32."""
        variance_C, mean_C = torch.var_mean(x_BCHW.float(), _OVER, correction=0)
        return mean_C, torch.rsqrt(variance_C + epsilon)

    @staticmethod
    def batch_norm_gather_stats_with_counts(
        _: Tensor,
        mean_RC: Tensor,
        scale_RC: Tensor,
        running_mean_C: Tensor,
        running_var_C: Tensor,
        momentum: float,
        epsilon: float,
        count_R: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return mean (C) and scale (C) of all workers' images, and move the running statistics towards them."""
        count, share_R1 = count_R.sum(), (count_R / count_R.sum())[:, None]
        mean_C = (share_R1 * mean_RC).sum(0)
        variance_RC = scale_RC**-2 - epsilon
        variance_C = (share_R1 * (variance_RC + (mean_RC - mean_C) ** 2)).sum(0)
        running_mean_C.lerp_(mean_C, momentum)
        running_var_C.lerp_(variance_C * (count / (count - 1)), momentum)
        return mean_C, torch.rsqrt(variance_C + epsilon)

    @staticmethod
    def batch_norm_elemt(
        x_BCHW: Tensor, weight_C: Tensor, bias_C: Tensor, mean_C: Tensor, scale_C: Tensor, _: float
    ) -> Tensor:
        """Return the normalised images, in their type."""
        normal_BCHW = (x_BCHW.float() - _wide(mean_C)) * _wide(scale_C * weight_C) + _wide(bias_C)
        return normal_BCHW.to(x_BCHW.dtype)

    @staticmethod
    def batch_norm_backward_reduce(
        gradient_BCHW: Tensor, x_BCHW: Tensor, mean_C: Tensor, scale_C: Tensor, _: Tensor, *__: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the sums of the gradient and of its product with the centred images, and weight's and bias's gradient."""
        gradient = gradient_BCHW.float()
        sum_C = gradient.sum(_OVER)
        product_C = (gradient * (x_BCHW.float() - _wide(mean_C))).sum(_OVER)
        return sum_C, product_C, product_C * scale_C, sum_C

    @staticmethod
    def batch_norm_backward_elemt(
        gradient_BCHW: Tensor,
        x_BCHW: Tensor,
        mean_C: Tensor,
        scale_C: Tensor,
        weight_C: Tensor,
        sum_C: Tensor,
        product_C: Tensor,
        count_R: Tensor,
    ) -> Tensor:
        """Return the images' gradient, given all workers' sums."""
        count = count_R.sum()
        slope_C = product_C / count * scale_C**2
        inner = gradient_BCHW.float() - _wide(sum_C / count) - (x_BCHW.float() - _wide(mean_C)) * _wide(slope_C)
        return (inner * _wide(scale_C * weight_C)).to(x_BCHW.dtype)


def _wide(values_C: Tensor) -> Tensor:
    return values_C[:, None, None]
