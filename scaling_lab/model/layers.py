"""The convolutions and resampling of feature network and heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch.nn.functional as F
from torch import Tensor, nn

from scaling_lab.architecture.spec import DetectorSpec

# (height, width)
Size: TypeAlias = tuple[int, int]

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
    """Return a batch norm with EfficientDet's momentum and epsilon."""
    return nn.BatchNorm2d(width, eps=NORM_EPSILON, momentum=NORM_MOMENTUM)


def convolution(spec: DetectorSpec, out_channels: int, *, bias: bool) -> nn.Module:
    """Return a 3x3 convolution from the spec's width, depthwise and pointwise if separable; the bias is in the last."""
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
        """Convolve (B, C, H, W) to (B, out_channels, H, W)."""
        return self.pointwise(self.depthwise(x_BCHW))  # type: ignore[no-any-return]


class Projection(nn.Sequential):
    """A 1x1 convolution and batch norm, without activation, to the feature network's width."""

    def __init__(self, in_channels: int, spec: DetectorSpec) -> None:
        super().__init__()
        self.add_module("conv", nn.Conv2d(in_channels, spec.width, 1, bias=spec.bias_before_norm))
        self.add_module("norm", batch_norm(spec.width))


def next_size(height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) of the next coarser level: half, rounded up."""
    return (height - 1) // 2 + 1, (width - 1) // 2 + 1


def resample(x_BCHW: Tensor, size: Size, spec: DetectorSpec) -> Tensor:
    """Resample a feature (B, C, H, W) to `size` (height, width), each axis separately.

    Down: pooling with stride (in - 1) // out + 1 and a kernel one larger (google/automl efficientdet, ResampleFeatureMap),
    with the spec's padding. Up: nearest neighbour to the exact size. Sizes need not be divisible.
    """
    if x_BCHW.shape[2] > size[0] or x_BCHW.shape[3] > size[1]:
        x_BCHW = _downsample(x_BCHW, size, spec)
    if x_BCHW.shape[2:] != size:
        x_BCHW = _interpolate(x_BCHW, size, spec.upsampling)
    return x_BCHW


def resampling_steps(source: Size, target: Size, spec: DetectorSpec) -> list[tuple[str, Size]]:
    """Return how `resample` gets from one (height, width) to another: each step's mode, and the size that it gives."""
    steps = []
    if source[0] > target[0] or source[1] > target[1]:
        source = _downsampled(source, target, spec)
        steps.append((spec.downsampling, source))
    if source != target:
        steps.append((spec.upsampling, target))
    return steps


def _downsample(x_BCHW: Tensor, size: Size, spec: DetectorSpec) -> Tensor:
    sides = (x_BCHW.shape[2], x_BCHW.shape[3])
    target = (min(size[0], sides[0]), min(size[1], sides[1]))
    if spec.downsampling != "max":
        return _interpolate(x_BCHW, target, spec.downsampling)
    same = spec.padding == "same"
    windows = [_window(side, out, same=same) for side, out in zip(sides, target, strict=True)]
    kernels, strides, starts = zip(*windows, strict=True)
    return F.max_pool2d(x_BCHW, kernels, strides, padding=starts, ceil_mode=same)


def _downsampled(sides: Size, size: Size, spec: DetectorSpec) -> Size:
    """Return the size of what `_downsample` returns."""
    target = (min(size[0], sides[0]), min(size[1], sides[1]))
    if spec.downsampling != "max":
        return target
    same = spec.padding == "same"
    height, width = (
        _pooled(side, _window(side, out, same=same), same=same) for side, out in zip(sides, target, strict=True)
    )
    return height, width


class _Window(NamedTuple):
    """A pooling along one axis, padded at the start."""

    kernel: int
    stride: int
    start: int


def _window(side: int, out: int, *, same: bool) -> _Window:
    stride = (side - 1) // out + 1
    kernel = stride + 1 if stride > 1 else 1
    # TensorFlow pads an odd pixel at the end: the start gets half the padding rounded down, ceil_mode the end. The padding
    # exceeds the kernel where a backbone rounds sizes down; torch pads by at most half a kernel.
    needed = (out - 1) * stride + kernel - side
    return _Window(kernel, stride, (min(needed, kernel) if same else kernel) // 2)


def _pooled(side: int, window: _Window, *, same: bool) -> int:
    """Return the side that torch's max_pool2d gives, in ceil_mode if `same`: no window starts in the padding at the end."""
    kernel, stride, start = window
    out = (side + 2 * start - kernel + (stride - 1 if same else 0)) // stride + 1
    return out - 1 if same and (out - 1) * stride >= side + start else out


def _interpolate(x_BCHW: Tensor, size: Size, mode: str) -> Tensor:
    corners = None if mode == "nearest" else False
    return F.interpolate(x_BCHW, size=size, mode=mode, align_corners=corners)
