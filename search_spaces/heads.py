"""Heads with anchors, with anchors fitted to the data, and heads of points, at the same width or at the same multiply-adds."""

from __future__ import annotations

import dataclasses
from typing import Any

from scaling_lab import Anchors, DetectorSpec
from scaling_lab.architecture.spec import HEADS
from search_spaces.compound import ONE_CELL
from search_spaces.feature_networks import at_cost_of


def space(
    trial: Any,
    base: DetectorSpec = ONE_CELL,
    heads: tuple[str, ...] = HEADS,
    num_classes: int | None = None,
    fitted: Anchors | None = None,
) -> DetectorSpec:
    """Return a detector by its head, with the base's width. The head "fitted" has the anchors `fitted`.

    With `num_classes`, the width is the one at which a detector of that many classes costs as much as the base.
    """
    name = trial.suggest_categorical("head", list(heads))
    if name == "fitted":
        assert fitted is not None, "the head 'fitted' needs fitted anchors"
        found = dataclasses.replace(base, anchors=fitted)
    else:
        found = dataclasses.replace(base, head=name)
    return found if num_classes is None else at_cost_of(base, found, num_classes)
