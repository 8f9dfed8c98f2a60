"""Images with boxes behind one interface: Shapes, generated on the fly, and Coco, Voc and Yolo, read from disk.

A source is a plain value that can be printed, compared and hashed. Importing this package does not import torch. Batches
for the network come from `scaling_lab.data.loading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scaling_lab.data.coco import Coco
from scaling_lab.data.shapes import Shapes
from scaling_lab.data.voc import Voc
from scaling_lab.data.yolo import Yolo
from scaling_lab.errors import UserError

Source = Shapes | Coco | Voc | Yolo

# The formats on disk, in the order of recognition.
ON_DISK: dict[str, type[Coco] | type[Voc] | type[Yolo]] = {each.kind: each for each in (Coco, Voc, Yolo)}
_KINDS: dict[str, type[Shapes] | type[Coco] | type[Voc] | type[Yolo]] = {Shapes.kind: Shapes, **ON_DISK}

__all__ = ["ON_DISK", "Coco", "Shapes", "Source", "Voc", "Yolo", "parse_source", "source_from_dict"]


def source_from_dict(values: Mapping[str, Any]) -> Source:
    """Return the source of a `to_dict` result. Raises UserError."""
    fields = dict(values)
    kind = fields.pop("kind", None)
    if kind not in _KINDS:
        raise UserError(f"data source kind is {kind!r}; allowed are {', '.join(_KINDS)}")
    try:
        return _KINDS[kind](**fields)
    except TypeError as error:
        raise UserError(f"a data source of kind {kind!r} cannot be made from {sorted(fields)}: {error}") from error


def parse_source(text: str) -> Source:
    """Parse the command line's --data: "shapes", a folder whose format is recognised, or KIND:DIR.

    Fields follow after commas, as in "shapes,train_images=2048", "/data/mine,val_fraction=0.2" and
    "voc:DIR,train=trainval,classes=found,skip_broken"; a field without a value is True. Splits that are not given are
    found. Raises UserError for a folder of unknown format, or without held-out images.
    """
    from scaling_lab.data.recognition import find_source

    return find_source(text)
