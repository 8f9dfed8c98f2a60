"""Freezes parts of a detector: no gradients, and batch norms in inference mode."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from scaling_lab.errors import UserError
from scaling_lab.model import Detector


def freeze(detector: Detector, what: str) -> None:
    """Disable the gradients of the parts that `what`, a recipe's `freeze`, names, and enable all others.

    Raises UserError for the norms of a backbone without batch norms.
    """
    frozen = list(_frozen(detector, what))
    detector.requires_grad_(True)
    if what == "backbone_norms" and not frozen:
        name = detector.spec.backbone
        raise UserError(f"recipe.freeze is {what!r}; allowed are none, backbone: backbone {name!r} has no batch norm")
    for part in frozen:
        part.requires_grad_(False)


def set_training(detector: Detector, what: str) -> None:
    """Set the detector to training mode, except its frozen parts."""
    detector.train()
    for part in _frozen(detector, what):
        part.eval()


def _frozen(detector: Detector, what: str) -> Iterator[nn.Module]:
    if what == "backbone":
        yield detector.backbone
    elif what == "backbone_norms":
        yield from (part for part in detector.backbone.modules() if isinstance(part, nn.BatchNorm2d))
