"""A convolution and the activation after it as one call of oneDNN, for inference on a CPU.

Shapes: B batch, C channels, H, W height and width.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from timm.layers.padding import get_same_padding, pad_same
from torch import Tensor, nn

# oneDNN's names of the activations that it computes with a convolution. The operator is what torch.compile's frozen graphs
# call; plain convolutions are one too, since torch otherwise leaves oneDNN for small images or one thread.
FUSED: dict[type[nn.Module], str] = {nn.Identity: "none", nn.SiLU: "swish", nn.ReLU: "relu", nn.Hardswish: "hardswish"}

HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


class FusedConv(nn.Conv2d):
    """A convolution, then an activation. Its parameters are those of the convolution it is made of.

    On a CPU in float32 it is one call of oneDNN; elsewhere, under autocast and in exported graphs two operators.
    """

    def __init__(self, convolution: nn.Conv2d, activation: nn.Module | None = None) -> None:
        super().__init__(
            convolution.in_channels,
            convolution.out_channels,
            convolution.kernel_size,  # type: ignore[arg-type]
            convolution.stride,  # type: ignore[arg-type]
            convolution.padding,  # type: ignore[arg-type]
            convolution.dilation,  # type: ignore[arg-type]
            convolution.groups,
            bias=False,
            device="meta",
        )
        self.weight, self.bias = convolution.weight, convolution.bias
        self.is_same = isinstance(convolution, Conv2dSame)
        self.activation = copy.copy(activation) if activation is not None else nn.Identity()
        if hasattr(self.activation, "inplace"):
            self.activation.inplace = True  # type: ignore[assignment]  # of the convolution's own output
        self._packed: dict[tuple[int, int, int], Tensor] = {}

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map (B, C, H, W) to the activated output."""
        if self._is_for_onednn(x_BCHW):
            weight, padding = self._weight(x_BCHW)
            return torch.ops.mkldnn._convolution_pointwise(  # type: ignore[no-any-return]
                x_BCHW, weight, self.bias, padding, self.stride, self.dilation, self.groups,
                FUSED[type(self.activation)], [], "",
            )  # fmt: skip
        if self.is_same:
            x_BCHW = pad_same(x_BCHW, self.kernel_size, self.stride, self.dilation)
        made = F.conv2d(x_BCHW, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        return self.activation(made)  # type: ignore[no-any-return]

    def _is_for_onednn(self, x_BCHW: Tensor) -> bool:
        return (
            x_BCHW.device.type == "cpu"
            and x_BCHW.dtype == self.weight.dtype == torch.float32
            and type(self.activation) in FUSED
            and HAS_ONEDNN
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_exporting()
        )

    def _weight(self, x_BCHW: Tensor) -> tuple[Tensor, Sequence[int]]:
        """Return weight and padding of an equal convolution that pads both ends alike, which saves a copy of its input.

        TensorFlow pads an odd pixel at the end; a row or column of zeros at the kernel's start does the same. The weight is
        in oneDNN's own order, kept until it changes; a compiled graph gets it plain.
        """
        odd_height = odd_width = 0
        padding: Sequence[int] = self.padding  # type: ignore[assignment]
        if self.is_same:
            axes = zip(x_BCHW.shape[2:], self.kernel_size, self.stride, strict=True)
            both = [get_same_padding(side, kernel, stride, 1) for side, kernel, stride in axes]
            odd_height, odd_width = both[0] % 2, both[1] % 2
            padding = [-(-pixels // 2) for pixels in both]
        if torch.compiler.is_compiling():
            return self._padded(odd_height, odd_width), padding
        version = 0 if self.weight.is_inference() else self.weight._version
        key = (odd_height, odd_width, version)
        if key not in self._packed:
            if any(old[2] != version for old in self._packed):
                self._packed.clear()
            with torch.no_grad():
                self._packed[key] = torch.ops.aten.mkldnn_reorder_conv2d_weight(
                    self._padded(odd_height, odd_width).to_mkldnn(),
                    padding, self.stride, self.dilation, self.groups, x_BCHW.shape,
                )  # fmt: skip
        return self._packed[key], padding

    def _padded(self, odd_height: int, odd_width: int) -> Tensor:
        if not (odd_height or odd_width):
            return self.weight
        return F.pad(self.weight, (odd_width, 0, odd_height, 0)).contiguous(memory_format=torch.channels_last)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._packed.clear()
        return super()._apply(fn, recurse)  # type: ignore[no-any-return, no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": {}}  # oneDNN's tensors can be neither copied nor pickled


def fuse_all(module: nn.Module) -> None:
    """Replace the convolutions in a module that FusedConv can run."""
    for name, child in list(module._modules.items()):
        if isinstance(child, nn.Conv2d) and can_fuse(child):
            setattr(module, name, FusedConv(child))
        elif child is not None and not isinstance(child, FusedConv):
            fuse_all(child)


def can_fuse(convolution: nn.Module) -> bool:
    """Say whether FusedConv runs a convolution: one of torch's, or timm's with TensorFlow's padding, both padded by zeros."""
    if type(convolution) is Conv2dSame:
        return convolution.dilation == (1, 1)
    return (
        type(convolution) is nn.Conv2d
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
    )
