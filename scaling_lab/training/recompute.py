"""Gradient checkpointing: the backbone's activations are computed again in the backward pass instead of kept.

timm's backbones do it (set_grad_checkpointing). Batch norms would count each batch twice, since they see it twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from scaling_lab.errors import UserError, first_line
from scaling_lab.model import Detector


def recompute_backbone(detector: Detector) -> None:
    """Let the backbone recompute its activations. Raises UserError for a backbone that cannot."""
    name, switch = detector.spec.backbone, getattr(detector.backbone, "set_grad_checkpointing", None)
    allowed = f"allowed with backbone {name!r} is False"
    if switch is None:
        raise UserError(f"recipe.recompute_backbone is True; {allowed}: timm has no gradient checkpointing for it")
    try:
        switch(True)
    except Exception as error:  # timm asserts, or fails in the wrapped model
        raise UserError(f"recipe.recompute_backbone is True; {allowed}: {first_line(error)}") from None


@contextmanager
def statistics_kept(backbone: nn.Module) -> Iterator[None]:
    """Keep the statistics of the backbone's batch norms, whatever passes through them: for the backward pass."""
    norms = [each for each in backbone.modules() if isinstance(each, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    counters = [norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]
    before = [counter.clone() for counter in counters]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        if counters:
            torch._foreach_copy_(counters, before)
