"""The class and box heads: convolutions shared by all levels, batch norm for each level.

Shapes: B batch, A boxes at a position, which are its anchors, or 1 for a head of points.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.model.layers import ACTIVATION_MODULES, batch_norm, convolution


class Head(nn.Module):
    """`head_repeats` convolutions, each with a separate norm for every level, then a predicting convolution.

    Source: google/automl efficientdet, efficientdet_arch.py, class_net and box_net.
    """

    def __init__(self, spec: DetectorSpec, values_per_box: int) -> None:
        super().__init__()
        repeats, levels = range(spec.head_repeats), range(spec.topology.num_inputs)
        bias = spec.bias_before_norm
        self.convolutions = nn.ModuleList(convolution(spec, spec.width, bias=bias) for _ in repeats)
        self.norms = nn.ModuleList(nn.ModuleList(batch_norm(spec.width) for _ in levels) for _ in repeats)
        self.activation = ACTIVATION_MODULES[spec.head_activation or spec.activation]()
        self.predict = convolution(spec, values_per_box * spec.boxes_per_position, bias=True)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Map (B, width, H, W) for each level to (B, A * values, H, W) for each level."""
        outputs = []
        for level, x_BCHW in enumerate(features):
            for convolve, norms in zip(self.convolutions, self.norms, strict=True):
                x_BCHW = self.activation(norms[level](convolve(x_BCHW)))  # type: ignore[index]
            outputs.append(self.predict(x_BCHW))
        return outputs
