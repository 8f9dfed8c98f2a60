"""A copy of a detector for inference: batch norms are folded into convolutions, fusion weights are constants.

Outputs are equal up to float32 rounding. In the backbone, a batch norm is folded if it alone reads a convolution's output.
A backbone with hooks, or that torch.fx cannot trace, is left unchanged.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from timm.models._features_fx import get_notrace_modules
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from scaling_lab.errors import UserError
from scaling_lab.model.detector import Detector
from scaling_lab.model.feature_network import FusionNode
from scaling_lab.model.fusion import Weighted
from scaling_lab.model.heads import Head
from scaling_lab.model.layers import Projection, SeparableConv


def for_inference(detector: Detector) -> Detector:
    """Return a copy of a detector, in evaluation mode and without gradients, with equal outputs and less computation.

    Its state dict differs from the detector's: save and load the detector, then prepare it. Raises UserError for a
    prepared detector.
    """
    if isinstance(detector.class_head, LevelHead):
        raise UserError(
            "the detector is already prepared for inference; allowed is a detector of build or load_checkpoint"
        )
    prepared = copy.deepcopy(detector).eval().requires_grad_(False)
    _fold_backbone(prepared.backbone)
    for module in list(prepared.feature_network.modules()):
        if isinstance(module, Projection):
            _fold(module.conv, module.norm)  # type: ignore[arg-type]
            module.norm = nn.Identity()
        elif isinstance(module, FusionNode):
            _fold_node(module)
    prepared.class_head = LevelHead(prepared.class_head)  # type: ignore[assignment]
    prepared.box_head = LevelHead(prepared.box_head)  # type: ignore[assignment]
    return prepared


# --- backbone --------------------------------------------------------------------------------------------------------


class _Tracer(fx.Tracer):
    """Traces a backbone down to convolutions and norms."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        leaves = (nn.Conv2d, nn.BatchNorm2d, BatchNormAct2d, *get_notrace_modules())
        return isinstance(m, leaves) or super().is_leaf_module(m, module_qualified_name)


def _fold_backbone(backbone: nn.Module) -> None:
    # A graph does not show hooks, which may read a convolution's output; timm uses them in some backbones.
    if any(module._forward_hooks or module._forward_pre_hooks for module in backbone.modules()):
        return
    try:
        graph = _Tracer().trace(backbone)
    except Exception:  # any error of code that cannot be traced
        return
    calls: dict[Any, int] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            calls[node.target] = calls.get(node.target, 0) + 1
    modules = dict(backbone.named_modules())
    for node in graph.nodes:
        if node.op != "call_module" or not isinstance(modules[node.target], nn.BatchNorm2d):
            continue
        source = node.args[0]
        is_alone = (
            source.op == "call_module" and len(source.users) == 1 and calls[source.target] == calls[node.target] == 1
        )
        convolution, norm = modules.get(str(source.target)), modules[node.target]
        if not is_alone or type(convolution) not in (nn.Conv2d, Conv2dSame) or norm.running_mean is None:
            continue
        _fold(convolution, norm)  # type: ignore[arg-type]
        after = nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
        parent, _, name = str(node.target).rpartition(".")
        setattr(backbone.get_submodule(parent), name, after)


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


def _last(convolution: nn.Module) -> nn.Conv2d:
    """Return the convolution before a norm."""
    last = convolution.pointwise if isinstance(convolution, SeparableConv) else convolution
    assert isinstance(last, nn.Conv2d)
    return last


# --- heads -----------------------------------------------------------------------------------------------------------


class LevelHead(nn.Module):
    """A head with separate convolutions for each level, its norms folded in; depthwise weights are shared."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        levels = range(len(head.norms[0])) if len(head.norms) else ()  # type: ignore[arg-type]
        # By level; empty for a head without repeated convolutions.
        self.convolutions = nn.ModuleList(
            nn.ModuleList(
                _with_norm(convolution, norms[level])  # type: ignore[index]
                for convolution, norms in zip(head.convolutions, head.norms, strict=True)
            )
            for level in levels
        )
        self.activation, self.predict = head.activation, head.predict

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Map (B, width, H, W) for each level to (B, A * values, H, W) for each level."""
        outputs = []
        for level, x_BCHW in enumerate(features):
            for convolve in self.convolutions[level] if len(self.convolutions) else ():  # type: ignore[union-attr]
                x_BCHW = self.activation(convolve(x_BCHW))
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
