"""Images with boxes behind one interface: Shapes, made on the fly, and Coco and Voc, read from disk.

A source is a plain value that is printed, compared and hashed; importing this package imports no torch. Batches for the
network come from `scaling_lab.data.loading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scaling_lab.data.coco import Coco
from scaling_lab.data.shapes import Shapes
from scaling_lab.data.voc import Voc
from scaling_lab.data.words import place_and_fields, values_of
from scaling_lab.errors import UserError

Source = Shapes | Coco | Voc

_ON_DISK: dict[str, type[Coco] | type[Voc]] = {Coco.kind: Coco, Voc.kind: Voc}
_KINDS: dict[str, type[Shapes] | type[Coco] | type[Voc]] = {Shapes.kind: Shapes, **_ON_DISK}

__all__ = ["Coco", "Shapes", "Source", "Voc", "parse_source", "source_from_dict"]


def source_from_dict(values: Mapping[str, Any]) -> Source:
    """Rebuild a source from what its `to_dict` gave."""
    fields = dict(values)
    kind = fields.pop("kind", None)
    if kind not in _KINDS:
        raise UserError(f"the kind of a data source is {kind!r}; allowed are {', '.join(_KINDS)}")
    try:
        return _KINDS[kind](**fields)
    except TypeError as error:
        raise UserError(f"a data source of kind {kind!r} cannot be made of {sorted(fields)}: {error}") from error


def parse_source(text: str) -> Source:
    """Read the command line's --data: "shapes", or "coco:DIR" or "voc:DIR" for a folder in that layout.

    Fields follow after commas, as in "shapes,train_images=2048" and "voc:DIR,train=trainval,classes=found,skip_broken"; one
    without a value is True. A folder's name may hold commas, where there is such a folder.
    """
    place, fields = place_and_fields(text, _ON_DISK)
    kind, _, folder = place.partition(":")
    if kind in _ON_DISK and folder:
        return source_from_dict({"folder": folder, **values_of(_ON_DISK[kind], fields), "kind": kind})
    if place == Shapes.kind:
        return source_from_dict({**values_of(Shapes, fields), "kind": place})
    raise UserError(f"--data is {text!r}; allowed are shapes, coco:DIR and voc:DIR")
