"""The convolutions and resamplings that feature network and heads are made of. They know no levels and no topologies."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from scaling_lab.architecture.spec import DetectorSpec

# TensorFlow's momentum .99 and epsilon 1e-3 (google/automl efficientdet, utils.py), in torch's convention.
NORM_MOMENTUM, NORM_EPSILON = 0.01, 1e-3

ACTIVATION_MODULES: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,  # slope .01, as in timm and effdet
    "hard_swish": nn.Hardswish,
    "mish": nn.Mish,
}


def batch_norm(width: int) -> nn.BatchNorm2d:
    """Make a batch norm with EfficientDet's momentum and epsilon."""
    return nn.BatchNorm2d(width, eps=NORM_EPSILON, momentum=NORM_MOMENTUM)


def convolution(spec: DetectorSpec, out_channels: int, *, bias: bool) -> nn.Module:
    """Make a 3x3 convolution from the spec's width: depthwise and pointwise if it is separable; the bias comes last."""
    width = spec.width
    if not spec.separable:
        return nn.Conv2d(width, out_channels, 3, padding=1, bias=bias)
    return SeparableConv(width, out_channels, bias=bias)


class SeparableConv(nn.Module):
    """A 3x3 depthwise convolution, then a 1x1 one; no norm or activation between them."""

    def __init__(self, width: int, out_channels: int, *, bias: bool) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.pointwise = nn.Conv2d(width, out_channels, 1, bias=bias)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Keep height and width."""
        return self.pointwise(self.depthwise(x_BCHW))  # type: ignore[no-any-return]


class Projection(nn.Sequential):
    """A 1x1 convolution and batch norm that bring a feature to the feature network's width; no activation."""

    def __init__(self, in_channels: int, spec: DetectorSpec) -> None:
        super().__init__()
        self.add_module("conv", nn.Conv2d(in_channels, spec.width, 1, bias=spec.bias_before_norm))
        self.add_module("norm", batch_norm(spec.width))


def next_size(height: int, width: int) -> tuple[int, int]:
    """Give the size of the level after one of this size: halves, rounded up."""
    return (height - 1) // 2 + 1, (width - 1) // 2 + 1


def resample(x_BCHW: Tensor, size: tuple[int, int], spec: DetectorSpec) -> Tensor:
    """Bring a feature to `size` (height, width), each axis down, up or as it is.

    Down: pooling with stride (in - 1) // out + 1 and a kernel one wider (google/automl efficientdet, ResampleFeatureMap),
    padded as the spec says. Up: nearest neighbour to the exact size. No divisibility is needed.
    """
    if x_BCHW.shape[2] > size[0] or x_BCHW.shape[3] > size[1]:
        x_BCHW = _downsample(x_BCHW, size, spec)
    if x_BCHW.shape[2:] != size:
        x_BCHW = _interpolate(x_BCHW, size, spec.upsampling)
    return x_BCHW


def _downsample(x_BCHW: Tensor, size: tuple[int, int], spec: DetectorSpec) -> Tensor:
    sides = tuple(x_BCHW.shape[2:])
    target = (min(size[0], sides[0]), min(size[1], sides[1]))
    if spec.downsampling != "max":
        return _interpolate(x_BCHW, target, spec.downsampling)
    same = spec.padding == "same"
    strides = [(side - 1) // out + 1 for side, out in zip(sides, target, strict=True)]
    kernels = [stride + 1 if stride > 1 else 1 for stride in strides]
    axes = list(zip(sides, target, strides, kernels, strict=True))
    # TensorFlow pads the odd pixel at the end: its start is half the need rounded down, and ceil_mode supplies the end.
    # The need exceeds the kernel where a backbone rounds its sizes down; torch pads by half a kernel at most.
    needed = [(out - 1) * stride + kernel - side for side, out, stride, kernel in axes]
    starts = [(min(need, kernel) if same else kernel) // 2 for need, kernel in zip(needed, kernels, strict=True)]
    return F.max_pool2d(x_BCHW, kernels, strides, padding=starts, ceil_mode=same)


def _interpolate(x_BCHW: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    corners = None if mode == "nearest" else False
    return F.interpolate(x_BCHW, size=size, mode=mode, align_corners=corners)
