"""The whole detector: backbone, feature network, two heads, and their initial weights.

Shapes: B batch, H, W image height and width, h, w a level's height and width, A boxes at a position, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.model.backbone import make_backbone
from scaling_lab.model.feature_network import FeatureNetwork
from scaling_lab.model.heads import Head

# The initial probability of positives of the class head (arXiv:1708.02002, section 4.1).
CLASS_PRIOR = 0.01


class Detector(nn.Module):
    """A detector from images to class logits and box deltas at every level, for any image size.

    `class_names` are the names of its classes in order, if its weights have them, else None. A `backbone` that is given, with
    the channels of each of its levels, is used as it is.
    """

    def __init__(
        self,
        spec: DetectorSpec,
        *,
        pretrained: bool | str | Path = False,
        backbone: tuple[nn.Module, list[int]] | None = None,
        **backbone_options: Any,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.class_names: tuple[str, ...] | None = None
        levels = (spec.topology.min_level, spec.topology.max_level)
        options = {**spec.backbone_options, **backbone_options}
        self.backbone, channels = backbone or make_backbone(spec.backbone, *levels, pretrained=pretrained, **options)
        self.feature_network = FeatureNetwork(spec, channels)
        self.class_head = Head(spec, spec.num_classes)
        self.box_head = Head(spec, 4)
        for part in (self.feature_network, self.class_head, self.box_head):
            for module in part.modules():
                _initialise(module, uniform=part is self.feature_network)
        predict = [module for module in self.class_head.modules() if isinstance(module, nn.Conv2d)][-1]
        nn.init.constant_(predict.bias, -math.log((1 - CLASS_PRIOR) / CLASS_PRIOR))  # type: ignore[arg-type]

    def forward(self, images_BCHW: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Map (B, 3, H, W), normalised, to lists of class logits (B, A*K, h, w) and box deltas (B, A*4, h, w), finest first.

        Channels are anchor-major: anchor 0's values, then anchor 1's. Deltas are (ty, tx, th, tw). With a head of points, A is
        1, and the deltas are left, top, right and bottom (detection/points.py).
        """
        return self.from_features(self.backbone(images_BCHW))

    def from_features(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Map the backbone's features, a (B, C, h, w) for each of its levels, to the same outputs."""
        features = self.feature_network(list(features))
        return self.class_head(features), self.box_head(features)

    def of(self, inputs: Sequence[Tensor], *, are_features: bool = False) -> tuple[list[Tensor], list[Tensor]]:
        """Map a batch's inputs, one tensor of images or the backbone's features."""
        return self.from_features(inputs) if are_features else self(*inputs)


def build(spec: DetectorSpec, *, pretrained: bool | str | Path = False, **backbone_options: Any) -> Detector:
    """Build the detector of a spec, with weights from torch's random generator.

    `pretrained` True downloads timm's weights for the backbone; a path reads all its tensors from a file.

    Raises UserError for a backbone unknown to timm or without the topology's finest level, and for pretrained weights that
    are unavailable or do not fit.
    """
    return Detector(spec, pretrained=pretrained, **backbone_options)


def _initialise(module: nn.Module, *, uniform: bool) -> None:
    """Initialise a convolution: Glorot uniform in the feature network, fan-in normal in heads (google/automl, Keras)."""
    if not isinstance(module, nn.Conv2d):
        return
    fan_in = module.weight[0].numel()
    fan_out = module.out_channels * module.weight[0, 0].numel() // module.groups
    with torch.no_grad():
        if uniform:
            limit = math.sqrt(6.0 / (fan_in + fan_out))
            module.weight.uniform_(-limit, limit)
        else:
            module.weight.normal_(std=math.sqrt(1.0 / fan_in))
        if module.bias is not None:
            module.bias.zero_()
