"""A file of weights as names with tensors, and the spec where the file holds one. It knows no detector's names.

Files are read as tensors and plain values alone: nothing in them is executed.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from scaling_lab.errors import UserError

# What a training checkpoint keeps its weights under; averaged weights first, as effdet's --use-ema.
_WRAPPERS = ("state", "average", "state_dict_ema", "state_dict", "model_state_dict", "model")
_DEEPEST = 4
_PREFIXES = ("module.", "model.", "_orig_mod.")  # data-parallel, effdet's bench, torch.compile
# What timm's and effdet's training scripts keep beside the weights: the command line, and the metric as a numpy scalar.
_SCALAR: Any = np._core.multiarray.scalar  # type: ignore[attr-defined]
_PLAIN: list[Any] = [
    argparse.Namespace,
    np.dtype,
    _SCALAR,
    (_SCALAR, "numpy.core.multiarray.scalar"),  # as numpy 1 names it
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64")),
]


def read_file(path: Path) -> Mapping[str, Any]:
    """Read .safetensors, or what torch.save wrote. Raises UserError for any other file, and for one that is broken."""
    if not path.is_file():
        raise UserError(f"the weights {path} do not exist; allowed is a .safetensors, .pth or .pt file")
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_PLAIN), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that are not torch's; they are refused below
            read = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # whatever a broken file leads the readers to
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        why = f"it holds {found[1]}, which is not read" if found else "it is broken, or of another kind"
        raise UserError(
            f"{path} is no file of tensors: {why}; allowed is a state dict from torch.save, or .safetensors"
        ) from None
    if not isinstance(read, Mapping):
        raise UserError(f"{path} holds {type(read).__name__}; allowed is a state dict: names with tensors")
    return read


def find_tensors(read: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Find the state dict in what was read, and drop what wrappers have put before the names."""
    for _ in range(_DEEPEST):
        inner = next((read[name] for name in _WRAPPERS if isinstance(read.get(name), Mapping)), None)
        if inner is None:
            break
        read = inner
    state: dict[str, Tensor] = {}
    for name, value in read.items():
        if isinstance(value, Tensor):
            short = _without_prefixes(str(name))
            if short in state:
                raise UserError(f"{path} holds {short} twice, as {name} too; allowed is one set of weights")
            state[short] = value
    state.pop("anchors.boxes", None)  # effdet's bench keeps its anchors
    if not state:
        raise UserError(f"{path} holds no tensors; its keys are {', '.join(map(str, list(read)[:5])) or 'none'}")
    return state


def _without_prefixes(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.partition(".")[2]
    return name
