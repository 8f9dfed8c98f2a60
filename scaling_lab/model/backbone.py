"""A timm model as a detector's backbone: which of its features stand at which level. It defines no backbone itself."""

from __future__ import annotations

import difflib
import pickle
from typing import Any

import timm
import torch
from torch import nn

from scaling_lab.errors import UserError, first_line


def make_backbone(
    name: str, min_level: int, max_level: int, *, pretrained: bool | str = False, **options: Any
) -> tuple[nn.Module, list[int]]:
    """Make timm's `features_only` model that gives the levels from `min_level` on, and the channels of each.

    The coarsest level it gives is `max_level` or the last that the backbone has. `pretrained` True fetches timm's weights, a
    path reads a file in timm's format. `options` go to timm.create_model. Raises UserError for a name that timm does not
    know, a backbone without these levels, and weights that cannot be had.
    """
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"; near it are {', '.join(near)}" if near else ""
        raise UserError(f"backbone {name!r} is unknown to timm {timm.__version__}{hint}")
    reductions = _feature_levels(name, options)
    taps = [reductions[level] for level in range(min_level, max_level + 1) if level in reductions]
    has = ", ".join(f"P{level}" for level in sorted(reductions))
    if min_level not in reductions:
        raise UserError(f"backbone {name!r} has no level P{min_level}; it has {has}")
    last = min_level + len(taps) - 1
    if any(level not in reductions for level in range(min_level, last + 1)):
        raise UserError(f"backbone {name!r} has a gap between P{min_level} and P{max_level}; it has {has}")
    if isinstance(pretrained, str):
        options = {**options, "pretrained_cfg_overlay": {"file": pretrained}}
    try:
        backbone = timm.create_model(name, features_only=True, out_indices=taps, pretrained=bool(pretrained), **options)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        if not pretrained:
            raise
        where = f"in {pretrained} " if isinstance(pretrained, str) else ""
        raise UserError(
            f"the pretrained weights of backbone {name!r} {where}cannot be had: {first_line(error)}"
        ) from None
    return backbone, list(backbone.feature_info.channels())


def _feature_levels(name: str, options: dict[str, Any]) -> dict[int, int]:
    """Give the index of the last feature at each level, from a model that holds no memory."""
    try:
        with torch.device("meta"):
            info = timm.create_model(name, features_only=True, pretrained=False, **options).feature_info
    except Exception as error:  # timm raises many kinds for models without features
        raise UserError(
            f"timm cannot make features of backbone {name!r}{_with(options)}: {first_line(error)}"
        ) from None
    indices = info.out_indices if hasattr(info, "out_indices") else range(len(info.reduction()))
    return {int(reduction).bit_length() - 1: index for index, reduction in zip(indices, info.reduction(), strict=True)}


def _with(options: dict[str, Any]) -> str:
    return f" with {options}" if options else ""
