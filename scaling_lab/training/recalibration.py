"""Statistics of batch norms from batches: detectors that share weights do not share them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from scaling_lab.data.batches import Batch
from scaling_lab.model import Detector
from scaling_lab.training.precision import autocast


@torch.no_grad()
def recalibrate(detector: Detector, batches: Iterable[Batch], *, precision: str = "float32") -> None:
    """Set the statistics of all norms but the backbone's to their mean over batches, and the detector to inference mode."""
    parts = (detector.feature_network, detector.class_head, detector.box_head)
    norms = [module for part in parts for module in part.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    detector.train()
    detector.backbone.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
    for batch in batches:
        with autocast(precision, batch.boxes_BN4.device):
            detector.of(batch.inputs, are_features=batch.are_features)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    detector.eval()
