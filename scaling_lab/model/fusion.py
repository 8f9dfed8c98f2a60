"""The ways in which a node combines its resampled inputs.

Shapes: B batch, C channels, H, W height and width; inputs are lists of tensors of one shape (B, C, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# google/automl efficientdet, fuse_features: keeps the quotient finite when all weights are 0.
FAST_EPSILON = 1e-4


def make_fusion(kind: str, num_inputs: int, width: int) -> nn.Module:
    """Return the module of one of FUSIONS, from a list of (B, C, H, W) to (B, C, H, W)."""
    if kind in ("sum", "mean"):
        return Total(average=kind == "mean")
    if kind in ("attention_max", "attention_avg"):
        return Attention(largest=kind == "attention_max")
    return Weighted(kind, num_inputs, width)


def _add(inputs: Sequence[Tensor]) -> Tensor:
    total = inputs[0]
    for x_BCHW in inputs[1:]:
        total = total + x_BCHW
    return total


class Total(nn.Module):
    """Σ x_i, or Σ x_i / n."""

    def __init__(self, average: bool) -> None:
        super().__init__()
        self.average = average

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Add the inputs."""
        total = _add(inputs)
        return total / len(inputs) if self.average else total


class Weighted(nn.Module):
    """Σ n(w)_i x_i with learned w, one for each input or, with "channel_", one for each input and channel."""

    def __init__(self, kind: str, num_inputs: int, width: int) -> None:
        super().__init__()
        self.normalisation = kind.removeprefix("channel_")
        per_channel = kind.startswith("channel_")
        self.weights = nn.Parameter(torch.ones(num_inputs, width) if per_channel else torch.ones(num_inputs))

    def normalised(self) -> Tensor:
        """Return the normalised weights: (inputs,) or (inputs, C)."""
        if self.normalisation == "softmax":
            return torch.softmax(self.weights, dim=0)
        if self.normalisation == "fast":
            positive = torch.relu(self.weights)
            return positive / (positive.sum(dim=0) + FAST_EPSILON)
        return self.weights

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Add the inputs, each times its weight."""
        weights = self.normalised().to(inputs[0].dtype)
        if weights.dim() == 2:
            weights = weights[:, :, None, None]
        first, *others = weights.unbind()
        total = inputs[0] * first
        for x_BCHW, weight in zip(inputs[1:], others, strict=True):
            total = torch.addcmul(total, x_BCHW, weight)
        return total


class Attention(nn.Module):
    """x_0 + sigmoid(pool(x_0)) x_1 + Σ_{i>1} x_i, with a global maximum or average as the pool (NAS-FPN's gate)."""

    def __init__(self, largest: bool) -> None:
        super().__init__()
        self.largest = largest

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Gate the second input by the first and add the rest."""
        gate_BCHW, gated_BCHW, *rest = inputs
        pool = gate_BCHW.amax(dim=(2, 3), keepdim=True) if self.largest else gate_BCHW.mean(dim=(2, 3), keepdim=True)
        return _add([torch.addcmul(gate_BCHW, gated_BCHW, torch.sigmoid(pool)), *rest])
