"""Images with boxes, from two sources behind one interface: Shapes, made on the fly, and Coco, read from disk.

A source is a plain value that is printed, compared and hashed; importing this package imports no torch. Batches for the
network come from `scaling_lab.data.loading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scaling_lab.data.coco import Coco
from scaling_lab.data.shapes import Shapes
from scaling_lab.errors import UserError

Source = Shapes | Coco

_KINDS: dict[str, type[Shapes] | type[Coco]] = {Shapes.kind: Shapes, Coco.kind: Coco}

__all__ = ["Coco", "Shapes", "Source", "parse_source", "source_from_dict"]


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
    """Read the command line's --data: "shapes", or "coco:DIR" for a folder in COCO's layout."""
    kind, _, folder = text.partition(":")
    if kind == Coco.kind and folder:
        return Coco(folder=folder)
    if text == Shapes.kind:
        return Shapes()
    raise UserError(f"--data is {text!r}; allowed are shapes and coco:DIR")
