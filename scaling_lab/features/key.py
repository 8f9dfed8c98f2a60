"""What stored features depend on, as a plain value, and digests of weights and image files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import nn

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.data.augmentation import Augmentation
from scaling_lab.data.shapes import Shapes
from scaling_lab.data.sources import Source

# Raise it with every change after which the same key gives other features.
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class FeatureKey:
    """Everything that stored features depend on. Equal keys have equal features."""

    backbone: str
    backbone_options: str
    weights: str
    min_level: int
    max_level: int
    image_size: tuple[int, int]
    pixels: str
    data: str
    files: str
    split: str
    augmentation: str
    views: int
    version: int = VERSION

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "image_size": list(self.image_size)}

    @property
    def digest(self) -> str:
        """16 hexadecimal digits, which name the folder."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def feature_key(
    spec: DetectorSpec,
    backbone: nn.Module,
    source: Source,
    split: str,
    *,
    augmentation: Augmentation,
    views: int,
    data_digest: str | None = None,
) -> FeatureKey:
    """Return the key of a split's features. Held-out images have one view, without augmentation.

    `data_digest` is the source's, if known; computing it reads all annotation files.
    """
    is_train = split == "train"
    return FeatureKey(
        backbone=spec.backbone,
        backbone_options=json.dumps(spec.backbone_options, sort_keys=True),
        weights=weights_digest(backbone),
        min_level=spec.topology.min_level,
        max_level=spec.topology.max_level,
        image_size=spec.image_size,
        pixels=json.dumps(asdict(spec.pixels), sort_keys=True),
        data=data_digest or source.digest(),
        files=files_digest(source, split),
        split=split,
        augmentation=json.dumps(asdict(augmentation), sort_keys=True) if is_train else "",
        views=views if is_train else 1,
    )


def weights_digest(module: nn.Module) -> str:
    """Return 16 hexadecimal digits of a module's parameters and buffers, whatever file they came from."""
    whole = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        whole.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        whole.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
    return whole.hexdigest()[:16]


def files_digest(source: Source, split: str) -> str:
    """Return 16 hexadecimal digits of the images' file names, sizes and dates, since annotations do not tell of other pixels.

    Generated images have no files: "".
    """
    if isinstance(source, Shapes):
        return ""
    whole = hashlib.sha256()
    for entry in source.entries(split):
        path = source.image_path(split, entry)
        try:
            seen = path.stat()
            whole.update(f"{entry.file_name} {seen.st_size} {seen.st_mtime_ns}\n".encode())
        except OSError:  # reading it says what is wrong
            whole.update(f"{entry.file_name} missing\n".encode())
    return whole.hexdigest()[:16]
