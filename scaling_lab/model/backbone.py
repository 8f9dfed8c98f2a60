"""A timm model as a detector's backbone: its features by level, and its weights."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub.constants import HF_HUB_CACHE
from torch import Tensor, nn

from scaling_lab.errors import UserError, first_line
from scaling_lab.model.weights_file import find_tensors, first_parts, fit, in_short, read_file, some
from scaling_lab.pretrained import weights_of

_LOG = logging.getLogger(__name__)


def make_backbone(
    name: str, min_level: int, max_level: int, *, pretrained: bool | str | Path = False, **options: Any
) -> tuple[nn.Module, list[int]]:
    """Return timm's `features_only` model for the levels from `min_level` on, and the channels of each.

    The coarsest level is `max_level` or the backbone's last. `pretrained` True downloads timm's weights; a path reads a file
    with timm's names, or this backbone's file in a folder (see weights_file.py for keys and prefixes). `options` go to
    timm.create_model.

    Raises UserError for a name unknown to timm, a backbone without these levels, and weights that are unavailable. Also for
    weights with a tensor that is missing, of another shape or not finite.
    """
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"; similar names are {', '.join(near)}" if near else ""
        raise UserError(f"backbone {name!r} is unknown to timm {timm.__version__}{hint}")
    reductions = _feature_levels(name, options)
    taps = [reductions[level] for level in range(min_level, max_level + 1) if level in reductions]
    has = ", ".join(f"P{level}" for level in sorted(reductions))
    if min_level not in reductions:
        raise UserError(f"backbone {name!r} has no level P{min_level}; it has {has}")
    last = min_level + len(taps) - 1
    if any(level not in reductions for level in range(min_level, last + 1)):
        raise UserError(f"backbone {name!r} has a gap between P{min_level} and P{max_level}; it has {has}")
    backbone = timm.create_model(name, features_only=True, out_indices=taps, pretrained=False, **options)
    if pretrained is True:
        _load(backbone, name, _fetched(name), "timm's weights")
    elif pretrained is not False:
        _load_file(backbone, name, weights_of(Path(pretrained), name))
    return backbone, list(backbone.feature_info.channels())


# --- weights ---------------------------------------------------------------------------------------------------------


def _fetched(name: str) -> dict[str, Tensor]:
    """Return the tensors of timm's whole model with released weights, from the cache or the network. Raises UserError."""
    try:
        with torch.random.fork_rng(devices=[]):
            whole = timm.create_model(name, pretrained=True)
    except Exception as error:  # timm, the hub and the network raise many types
        config = timm.get_pretrained_cfg(name)
        source = (config.hf_hub_id or config.url) if config is not None else None
        if not source:
            raise UserError(f"timm has no pretrained weights of backbone {name!r}; allowed is a weights file") from None
        raise UserError(
            f"the pretrained weights of backbone {name!r} are not available from {source}: {first_line(error)}; "
            f"allowed are also pretrained=FILE, or the file in Hugging Face's cache, {HF_HUB_CACHE}"
        ) from None
    return dict(whole.state_dict())


def _load_file(backbone: nn.Module, name: str, path: Path) -> None:
    """Load a backbone's weights from a file of timm's model, or of a detector with this backbone. Raises UserError."""
    read = read_file(path)
    known = {_key(each) for each in _own_names(backbone)}
    found = find_tensors(read, path, lambda each: _key(each) in known, least=len(known) // 2)
    for note in found.notes:
        _LOG.warning(note)
    _load(backbone, name, found.tensors, str(path), says=read.get("arch"))


def _load(backbone: nn.Module, name: str, tensors: Mapping[str, Tensor], source: str, says: object = None) -> None:
    own = {_key(each): full for each, full in _own_names(backbone).items()}
    state = {own[_key(each)]: tensor for each, tensor in tensors.items() if _key(each) in own}
    found = fit(state, backbone.state_dict())
    if found.faults:
        rest = [each for each in tensors if _key(each) not in own]
        hints = [f"the file names the model {in_short(says)}"] if isinstance(says, str) and says != name else []
        if found.fitting < found.wanted / 2 and any("of another shape" in fault for fault in found.faults):
            hints.append("it looks like another backbone")
        elif found.fitting < found.wanted / 2 and rest:
            hints.append(f"it looks like another backbone: its tensor names begin with {some(first_parts([*tensors]))}")
        raise UserError(
            f"the pretrained weights of backbone {name!r} in {source} do not fit: "
            + "; ".join([str(found), *hints, f"allowed are weights of timm's {name}, with or without classifier"])
        )
    backbone.load_state_dict(state, strict=False)


def _own_names(backbone: nn.Module) -> dict[str, str]:
    """Return the backbone's names by the names in timm's whole model; some wrappers add "model." in front."""
    names = list(backbone.state_dict())
    prefix = "model." if all(name.startswith("model.") for name in names) else ""
    return {name.removeprefix(prefix): name for name in names}


def _key(name: str) -> str:
    """Return a name in a form common to timm's whole model ("stages.0.") and its features ("stages_0.")."""
    return name.replace(".", "_")


# --- levels ----------------------------------------------------------------------------------------------------------


def _feature_levels(name: str, options: dict[str, Any]) -> dict[int, int]:
    """Return the index of the last feature at each level, from a model without allocated memory. Raises UserError."""
    try:
        with torch.device("meta"):
            info = timm.create_model(name, features_only=True, pretrained=False, **options).feature_info
    except Exception as error:  # timm raises many types for models without features
        raise UserError(
            f"timm cannot extract features of backbone {name!r}{_with(options)}: {first_line(error)}"
        ) from None
    indices = info.out_indices if hasattr(info, "out_indices") else range(len(info.reduction()))
    return {int(reduction).bit_length() - 1: index for index, reduction in zip(indices, info.reduction(), strict=True)}


def _with(options: dict[str, Any]) -> str:
    return f" with {options}" if options else ""
