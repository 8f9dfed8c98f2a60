"""A copy of a detector for inference: batch norms are folded into convolutions, fusion weights are constants.

It chooses its memory layout, and on a CPU activations are computed with the convolutions before them. Outputs are equal up
to float32 rounding. In the backbone, a batch norm is folded if it alone reads a convolution's output. A backbone with
hooks, or that torch.fx cannot trace, is left unchanged.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._features_fx import get_notrace_modules
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from scaling_lab.errors import UserError
from scaling_lab.model.detector import Detector
from scaling_lab.model.feature_network import FusionNode
from scaling_lab.model.fused_conv import HAS_ONEDNN, FusedConv, can_fuse, fuse_all
from scaling_lab.model.fusion import Weighted
from scaling_lab.model.heads import Head
from scaling_lab.model.layers import Projection, SeparableConv


def for_inference(detector: Detector) -> PreparedDetector:
    """Return a copy of a detector, in evaluation mode and without gradients, with equal outputs and less computation.

    It takes images in any memory layout, and chooses its own for its device and precision, also after `.to(...)`. Its state
    dict differs from the detector's: save and load the detector, then prepare it. Raises UserError for a prepared detector.
    """
    if isinstance(detector, PreparedDetector):
        raise UserError(
            "the detector is already prepared for inference; allowed is a detector of build or load_checkpoint"
        )
    return PreparedDetector(detector)


def memory_format_for(device: torch.device, dtype: torch.dtype) -> torch.memory_format:
    """Return the layout of weights and images: channels last where oneDNN or cuDNN's half-precision kernels run in it."""
    is_half = dtype in (torch.bfloat16, torch.float16)
    is_last = (device.type == "cpu" and HAS_ONEDNN) or (device.type == "cuda" and is_half)
    return torch.channels_last if is_last else torch.contiguous_format


class PreparedDetector(Detector):
    """What `for_inference` returns: a Detector for images in any memory layout.

    `memory_format` is the layout that it computes in; torch.compile may choose another.
    """

    memory_format: torch.memory_format

    def __init__(self, detector: Detector) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(copy.deepcopy(detector).eval().requires_grad_(False).__dict__)
        _prepare_backbone(self.backbone)
        for module in list(self.feature_network.modules()):
            if isinstance(module, Projection):
                _fold(module.conv, module.norm)  # type: ignore[arg-type]
                module.norm = nn.Identity()
            elif isinstance(module, FusionNode):
                _fold_node(module)
        fuse_all(self.feature_network)
        self.class_head = LevelHead(self.class_head)  # type: ignore[assignment]
        self.box_head = LevelHead(self.box_head)  # type: ignore[assignment]
        self._lay_out()

    def forward(self, images_BCHW: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Map images as a Detector does."""
        return super().forward(images_BCHW.contiguous(memory_format=self.memory_format))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._lay_out()
        return self

    def _lay_out(self) -> None:
        """Choose the layout of the device and precision, which `_apply` has just changed, and give it to the weights."""
        one = next(self.parameters())
        self.memory_format = memory_format_for(one.device, one.dtype)

        def lay(x: Tensor) -> Tensor:
            return x.contiguous(memory_format=self.memory_format) if x.dim() == 4 else x

        super()._apply(lay)  # type: ignore[no-untyped-call]


# --- backbone --------------------------------------------------------------------------------------------------------


class _Tracer(fx.Tracer):
    """Traces a backbone down to convolutions and norms."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        leaves = (nn.Conv2d, nn.BatchNorm2d, BatchNormAct2d, *get_notrace_modules())
        return isinstance(m, leaves) or super().is_leaf_module(m, module_qualified_name)


def _prepare_backbone(backbone: nn.Module) -> None:
    # A graph does not show hooks, which may read a convolution's output; timm uses them in some backbones.
    if any(module._forward_hooks or module._forward_pre_hooks for module in backbone.modules()):
        return
    try:
        graph = _Tracer().trace(backbone)
    except Exception:  # any error of code that cannot be traced
        return
    alone = _fold_backbone(backbone, graph)
    _gate_in_place(backbone, graph, alone)
    fuse_all(backbone)


def _fold_backbone(backbone: nn.Module, graph: fx.Graph) -> set[fx.Node]:
    """Fold norms and fuse activations into the convolutions before them; return the norms' nodes."""
    calls: dict[Any, int] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            calls[node.target] = calls.get(node.target, 0) + 1
    modules = dict(backbone.named_modules())
    folded = set()
    for node in graph.nodes:
        if node.op != "call_module" or not isinstance(modules[node.target], nn.BatchNorm2d):
            continue
        source = node.args[0]
        is_alone = (
            source.op == "call_module" and len(source.users) == 1 and calls[source.target] == calls[node.target] == 1
        )
        convolution: Any = modules.get(str(source.target))
        norm = modules[node.target]
        if not is_alone or type(convolution) not in (nn.Conv2d, Conv2dSame) or norm.running_mean is None:
            continue
        _fold(convolution, norm)
        after = nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
        if isinstance(norm, BatchNormAct2d) and type(norm.drop) is nn.Identity and can_fuse(convolution):
            _replace(backbone, str(source.target), FusedConv(convolution, norm.act))
            after = nn.Identity()
        _replace(backbone, str(node.target), after)
        folded.add(node)
    return folded


def _replace(root: nn.Module, target: str, module: nn.Module) -> None:
    parent, _, name = target.rpartition(".")
    setattr(root.get_submodule(parent), name, module)


class Gate(nn.Module):
    """timm's SqueezeExcite of EfficientNet, which overwrites its input."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.gate_of = nn.Sequential(block.conv_reduce, block.act1, block.conv_expand, block.gate)  # type: ignore[arg-type]

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Multiply (B, C, H, W) by its gate, in place."""
        pooled = x_BCHW.mean((2, 3), keepdim=True)
        return x_BCHW.mul_(self.gate_of(pooled))


def _gate_in_place(backbone: nn.Module, graph: fx.Graph, folded: set[fx.Node]) -> None:
    """Replace the SqueezeExcites that alone read the output of a folded norm."""
    for name, block in list(backbone.named_modules()):
        if type(block) is not SqueezeExcite:
            continue
        inside = [node for node in graph.nodes if name in node.meta.get("nn_module_stack", {})]
        source: Any = inside[0].args[0] if inside else None
        if source is not None and set(source.users) <= set(inside) and _source(backbone, source, folded) in folded:
            _replace(backbone, name, Gate(block))


def _source(backbone: nn.Module, node: Any, folded: set[fx.Node]) -> fx.Node:
    """Return the node before identities, each of which alone reads what is before it."""
    while node not in folded and node.op == "call_module":
        if type(backbone.get_submodule(node.target)) is not nn.Identity or len(node.args[0].users) > 1:
            break
        node = node.args[0]
    return node  # type: ignore[no-any-return]


def _fold(convolution: nn.Conv2d, norm: nn.Module) -> None:
    """Fold a batch norm into the convolution before it."""
    assert isinstance(norm, nn.BatchNorm2d)
    mean, variance = norm.running_mean, norm.running_var
    assert isinstance(mean, Tensor)
    assert isinstance(variance, Tensor)
    weight, bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, mean, variance, norm.eps, norm.weight, norm.bias
    )
    convolution.weight = nn.Parameter(weight, requires_grad=False)
    convolution.bias = nn.Parameter(bias, requires_grad=False)


# --- feature network -------------------------------------------------------------------------------------------------


class FixedWeights(nn.Module):
    """Σ w_i x_i with fixed w (inputs,) or (inputs, C). Shapes: inputs and output (B, C, H, W)."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.numbers: list[float] | None = weights.tolist() if weights.dim() == 1 else None
        self.register_buffer("weights", weights if weights.dim() == 1 else weights[:, :, None, None])

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Add the inputs, each times its weight."""
        if self.numbers is None:
            total = inputs[0] * self.weights[0]  # type: ignore[index]
            for x_BCHW, weight in zip(inputs[1:], self.weights[1:], strict=True):  # type: ignore[index]
                total = torch.addcmul(total, x_BCHW, weight)
            return total
        total = inputs[0] * self.numbers[0]
        for x_BCHW, number in zip(inputs[1:], self.numbers[1:], strict=True):
            total.add_(x_BCHW, alpha=number)
        return total


def _fold_node(node: FusionNode) -> None:
    _fold(_last(node.convolution), node.norm)
    node.norm = nn.Identity()  # type: ignore[assignment]
    if isinstance(node.fusion, Weighted):
        node.fusion = FixedWeights(node.fusion.normalised())
    if node.spec.norm_before_activation:
        node.convolution = _activated(node.convolution, node.activation)
        node.activation = nn.Identity()


def _last(convolution: nn.Module) -> nn.Conv2d:
    """Return the convolution before a norm."""
    last = convolution.pointwise if isinstance(convolution, SeparableConv) else convolution
    assert isinstance(last, nn.Conv2d)
    return last


def _activated(convolution: nn.Module, activation: nn.Module) -> nn.Module:
    """Return a convolution that activates its output."""
    if not isinstance(convolution, SeparableConv):
        return FusedConv(_last(convolution), activation)
    convolution.pointwise = FusedConv(convolution.pointwise, activation)
    return convolution


# --- heads -----------------------------------------------------------------------------------------------------------


class LevelHead(nn.Module):
    """A head with separate convolutions for each level, norms and activations folded in; depthwise weights are shared."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        levels = range(len(head.norms[0])) if len(head.norms) else ()  # type: ignore[arg-type]
        # By level; empty for a head without repeated convolutions.
        self.convolutions = nn.ModuleList(
            nn.ModuleList(
                _activated(_with_norm(convolution, norms[level]), head.activation)  # type: ignore[index]
                for convolution, norms in zip(head.convolutions, head.norms, strict=True)
            )
            for level in levels
        )
        self.predict = head.predict
        fuse_all(self)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Map (B, width, H, W) for each level to (B, A * values, H, W) for each level."""
        outputs = []
        for level, x_BCHW in enumerate(features):
            for convolve in self.convolutions[level] if len(self.convolutions) else ():  # type: ignore[union-attr]
                x_BCHW = convolve(x_BCHW)
            outputs.append(self.predict(x_BCHW))
        return outputs


def _with_norm(convolution: nn.Module, norm: nn.Module) -> nn.Module:
    """Return a copy with a norm folded in, which shares unchanged weights."""
    if not isinstance(convolution, SeparableConv):
        folded = copy.deepcopy(convolution)
        _fold(_last(folded), norm)
        return folded
    folded = copy.copy(convolution)
    folded._modules = {**convolution._modules, "pointwise": copy.deepcopy(convolution.pointwise)}
    _fold(_last(folded), norm)
    return folded
