"""The modules that combine a node's inputs, one for each line of architecture/fusions.py.

Each takes (num_inputs, width), and maps a list of tensors of shape (B, C, H, W) to one: batch, channels, height, width.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scaling_lab.architecture.fusions import FUSIONS

# google/automl efficientdet, fuse_features: keeps the quotient finite when all weights are 0.
FAST_EPSILON = 1e-4


def make_fusion(kind: str, num_inputs: int, width: int) -> nn.Module:
    """Return the module of one of FUSIONS, from a list of (B, C, H, W) to (B, C, H, W)."""
    module, _, name = FUSIONS[kind].home.partition(":")
    made = getattr(importlib.import_module(module), name)(num_inputs, width)
    assert isinstance(made, nn.Module)
    return made


def _add(inputs: Sequence[Tensor]) -> Tensor:
    total = inputs[0]
    for x_BCHW in inputs[1:]:
        total = total + x_BCHW
    return total


class Sum(nn.Module):
    """Σ x_i."""

    def __init__(self, num_inputs: int, width: int) -> None:
        super().__init__()

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Add the inputs."""
        return _add(inputs)


class Mean(Sum):
    """Σ x_i / n."""

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Average the inputs."""
        return _add(inputs) / len(inputs)


class Weighted(nn.Module):
    """Σ n(w)_i x_i with learned w, one for each input or, where `per_channel`, one for each input and channel.

    Here n(w) is w; subclasses normalise.
    """

    per_channel = False

    def __init__(self, num_inputs: int, width: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(num_inputs, width) if self.per_channel else torch.ones(num_inputs))

    def normalised(self) -> Tensor:
        """Return the normalised weights: (inputs,) or (inputs, C)."""
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


class Fast(Weighted):
    """Weights relu(w_i) / (Σ relu(w_j) + 1e-4)."""

    def normalised(self) -> Tensor:
        """Return the normalised weights: (inputs,) or (inputs, C)."""
        positive = torch.relu(self.weights)
        return positive / (positive.sum(dim=0) + FAST_EPSILON)


class Softmax(Weighted):
    """Weights softmax(w)_i."""

    def normalised(self) -> Tensor:
        """Return the normalised weights: (inputs,) or (inputs, C)."""
        return torch.softmax(self.weights, dim=0)


class ChannelFast(Fast):
    """Fast fusion with a weight for each channel."""

    per_channel = True


class ChannelSoftmax(Softmax):
    """Softmax fusion with a weight for each channel."""

    per_channel = True


class AttentionMax(nn.Module):
    """x_0 + sigmoid(pool(x_0)) x_1 + Σ_{i>1} x_i, with a global maximum as the pool (NAS-FPN's gate)."""

    def __init__(self, num_inputs: int, width: int) -> None:
        super().__init__()

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Return (B, C, 1, 1)."""
        return x_BCHW.amax(dim=(2, 3), keepdim=True)

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Gate the second input by the first and add the rest."""
        gate_BCHW, gated_BCHW, *rest = inputs
        return _add([torch.addcmul(gate_BCHW, gated_BCHW, torch.sigmoid(self.pool(gate_BCHW))), *rest])


class AttentionAvg(AttentionMax):
    """The same with a global average as the pool."""

    def pool(self, x_BCHW: Tensor) -> Tensor:
        """Return (B, C, 1, 1)."""
        return x_BCHW.mean(dim=(2, 3), keepdim=True)
