"""Counts a spec's modules on torch's meta device, where tensors have shapes and take no memory. It times nothing.

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
from scaling_lab.cost.memory import Alive, PartMemory, module_tensors, size
from scaling_lab.model.backbone import make_backbone
from scaling_lab.model.feature_network import FeatureNetwork
from scaling_lab.model.heads import Head

# The shape (C, H, W) of each backbone feature, finest first.
Shapes3 = tuple[tuple[int, int, int], ...]
Counted = tuple[PartCost, PartMemory]


def count_backbone(spec: DetectorSpec) -> tuple[Counted, Shapes3]:
    """Count the backbone up to the topology's levels; give its features' shapes too."""
    options = json.dumps(spec.backbone_options, sort_keys=True)
    return _count_backbone(spec.backbone, options, spec.topology.min_level, spec.topology.max_level, spec.image_size)


@lru_cache(maxsize=1024)
def _count_backbone(
    name: str, options: str, min_level: int, max_level: int, image_size: tuple[int, int]
) -> tuple[Counted, Shapes3]:
    with torch.device("meta"):
        backbone, _ = make_backbone(name, min_level, max_level, **json.loads(options))
        counted, features = _count(backbone.eval(), torch.empty(1, 3, *image_size))
    return counted, tuple((x.shape[1], x.shape[2], x.shape[3]) for x in features)


def count_feature_network(spec: DetectorSpec, features: Shapes3) -> Counted:
    """Count the feature network on features of these shapes."""
    with torch.device("meta"):
        network = FeatureNetwork(spec, [channels for channels, _, _ in features])
        counted, _ = _count(network.eval(), [torch.empty(1, *shape) for shape in features])
    return counted


def count_heads(spec: DetectorSpec, features: Shapes3) -> tuple[Counted, Counted]:
    """Count the class head and the box head on the feature network's output."""
    with torch.device("meta"):
        inputs = [torch.empty(1, spec.width, height, width) for height, width in _level_sizes(spec, features)]
        classes, boxes = (_count(Head(spec, values).eval(), inputs)[0] for values in (spec.num_classes, 4))
    return classes, boxes


def _level_sizes(spec: DetectorSpec, features: Shapes3) -> list[tuple[int, int]]:
    """Give (height, width) of every level: the backbone's, then halves rounded up."""
    sizes = [(height, width) for _, height, width in features]
    while len(sizes) < spec.topology.num_inputs:
        height, width = sizes[-1]
        sizes.append(((height - 1) // 2 + 1, (width - 1) // 2 + 1))
    return sizes


def _count(module: nn.Module, inputs: Tensor | list[Tensor]) -> tuple[Counted, list[Tensor]]:
    own = module_tensors(module)
    given = [inputs] if isinstance(inputs, Tensor) else inputs
    with torch.no_grad(), FlopCounterMode(display=False) as counter, Alive([*own, *given]) as alive:
        outputs = list(module(inputs))
    params = sum(parameter.numel() for parameter in module.parameters())
    memory = PartMemory(weights=size(own), peak=alive.peak, outputs=size(outputs))
    return (PartCost(params=params, macs=counter.get_total_flops() // 2), memory), outputs
