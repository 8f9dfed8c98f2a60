"""Counts a spec's modules on torch's meta device, where tensors have shapes and no memory. It times nothing.

The backbone's share is kept for each (name, levels, image size), for it is most of the work.
"""

from __future__ import annotations

import json
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.cost.counts import PartCost
from scaling_lab.model.backbone import make_backbone
from scaling_lab.model.feature_network import FeatureNetwork
from scaling_lab.model.heads import Head

# The shape (C, H, W) of each backbone feature, finest first.
Shapes3 = tuple[tuple[int, int, int], ...]


def count_backbone(spec: DetectorSpec) -> tuple[PartCost, Shapes3]:
    """Count the backbone up to the topology's levels; give its features' shapes too."""
    options = json.dumps(spec.backbone_options, sort_keys=True)
    return _count_backbone(spec.backbone, options, spec.topology.min_level, spec.topology.max_level, spec.image_size)


@lru_cache(maxsize=1024)
def _count_backbone(
    name: str, options: str, min_level: int, max_level: int, image_size: tuple[int, int]
) -> tuple[PartCost, Shapes3]:
    with torch.device("meta"):
        backbone, _ = make_backbone(name, min_level, max_level, **json.loads(options))
        cost, features = _count(backbone.eval(), torch.empty(1, 3, *image_size))
    return cost, tuple((x.shape[1], x.shape[2], x.shape[3]) for x in features)


def count_feature_network(spec: DetectorSpec, features: Shapes3) -> PartCost:
    """Count the feature network on features of these shapes."""
    with torch.device("meta"):
        network = FeatureNetwork(spec, [channels for channels, _, _ in features])
        cost, _ = _count(network.eval(), [torch.empty(1, *shape) for shape in features])
    return cost


def count_heads(spec: DetectorSpec, features: Shapes3) -> PartCost:
    """Count both heads on the feature network's output."""
    with torch.device("meta"):
        heads = [Head(spec, spec.num_classes).eval(), Head(spec, 4).eval()]
        inputs = [torch.empty(1, spec.width, height, width) for height, width in _level_sizes(spec, features)]
        costs = [_count(head, inputs)[0] for head in heads]
    return PartCost(params=sum(cost.params for cost in costs), macs=sum(cost.macs for cost in costs))


def _level_sizes(spec: DetectorSpec, features: Shapes3) -> list[tuple[int, int]]:
    """Give (height, width) of every level: the backbone's, then halves rounded up."""
    sizes = [(height, width) for _, height, width in features]
    while len(sizes) < spec.topology.num_inputs:
        height, width = sizes[-1]
        sizes.append(((height - 1) // 2 + 1, (width - 1) // 2 + 1))
    return sizes


def _count(module: nn.Module, inputs: Tensor | list[Tensor]) -> tuple[PartCost, list[Tensor]]:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        outputs = module(inputs)
    params = sum(parameter.numel() for parameter in module.parameters())
    return PartCost(params=params, macs=counter.get_total_flops() // 2), list(outputs)
