"""Runs a topology: resamples every edge, fuses, activates and convolves.

Shapes: B batch, C channels, H, W height and width; features are lists over levels, finest first.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from scaling_lab.architecture.node import Node
from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.architecture.topology import Topology
from scaling_lab.model.fusion import make_fusion
from scaling_lab.model.layers import ACTIVATION_MODULES, Projection, batch_norm, convolution, next_size, resample


class FeatureNetwork(nn.Module):
    """A stack of `repeats` cells on the backbone's features, with all levels at the spec's width.

    Levels that the backbone lacks are made first: the first by a projection and pooling of the coarsest feature, the next
    by pooling the one before (google/automl efficientdet, build_feature_network).
    """

    def __init__(self, spec: DetectorSpec, backbone_channels: Sequence[int]) -> None:
        super().__init__()
        self.spec = spec
        self.num_given = len(backbone_channels)
        missing = spec.topology.num_inputs - self.num_given
        self.extra = (
            Projection(backbone_channels[-1], spec) if missing and backbone_channels[-1] != spec.width else None
        )
        channels = [*backbone_channels, *[spec.width] * missing]
        self.cells = nn.ModuleList()
        for _ in range(spec.repeats):
            cell = Cell(spec, channels)
            self.cells.append(cell)
            channels = cell.out_channels
        self.outputs = _projections(channels, spec)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Map the backbone's features to one (B, width, H, W) for each level of the topology."""
        features = list(features)
        while len(features) < self.spec.topology.num_inputs:
            features.append(self._next_level(features[-1], is_raw=len(features) == self.num_given))
        for cell in self.cells:
            features = cell(features)
        return [project(x_BCHW) for project, x_BCHW in zip(self.outputs, features, strict=True)]

    def _next_level(self, x_BCHW: Tensor, *, is_raw: bool) -> Tensor:
        size = next_size(x_BCHW.shape[2], x_BCHW.shape[3])
        if is_raw and self.extra is not None:
            x_BCHW = self.extra(x_BCHW)
        return resample(x_BCHW, size, self.spec)


class Cell(nn.Module):
    """One topology with weights. Inputs of another width are projected, once for every edge."""

    def __init__(self, spec: DetectorSpec, in_channels: Sequence[int]) -> None:
        super().__init__()
        self.topology: Topology = spec.topology
        channels = [*in_channels, *[spec.width] * len(self.topology.nodes)]
        self.nodes = nn.ModuleList(
            FusionNode(spec, node, [channels[source] for source in node.inputs]) for node in self.topology.nodes
        )
        self.out_channels = [channels[output] for output in self.topology.outputs]

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Map one feature for each level to one for each level."""
        sizes = {level: tuple(x.shape[2:]) for level, x in zip(self.topology.levels, features, strict=True)}
        features = list(features)
        for node, module in zip(self.topology.nodes, self.nodes, strict=True):
            features.append(module([features[source] for source in node.inputs], sizes[node.level]))
        return [features[output] for output in self.topology.outputs]


class FusionNode(nn.Module):
    """Resamples each input to the node's size, fuses, activates, convolves and normalises."""

    def __init__(self, spec: DetectorSpec, node: Node, in_channels: Sequence[int]) -> None:
        super().__init__()
        self.spec = spec
        self.projections = _projections(in_channels, spec)
        self.fusion = make_fusion(node.fusion, len(node.inputs), spec.width)
        self.convolution = convolution(spec, spec.width, bias=spec.bias_before_norm and not spec.norm_before_activation)
        self.norm = batch_norm(spec.width)
        self.activation = ACTIVATION_MODULES[spec.activation]()

    def forward(self, inputs: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Map inputs of any size to (B, width, *size)."""
        projected = [project(x_BCHW) for project, x_BCHW in zip(self.projections, inputs, strict=True)]
        fused_BCHW = self.fusion([resample(x_BCHW, size, self.spec) for x_BCHW in projected])
        if self.spec.norm_before_activation:
            return self.activation(self.norm(self.convolution(fused_BCHW)))  # type: ignore[no-any-return]
        return self.norm(self.convolution(self.activation(fused_BCHW)))  # type: ignore[no-any-return]


def _projections(in_channels: Sequence[int], spec: DetectorSpec) -> nn.ModuleList:
    """Return a projection to the spec's width for each input of another width, the identity for the others."""
    return nn.ModuleList(
        nn.Identity() if channels == spec.width else Projection(channels, spec) for channels in in_channels
    )
