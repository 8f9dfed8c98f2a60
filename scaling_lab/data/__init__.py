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
    without a value is True.
    """
    place, *fields = text.split(",")
    kind, _, folder = place.partition(":")
    named: dict[str, Any] = {
        name: value if equals else True for name, equals, value in (field.partition("=") for field in fields)
    }
    if kind in _ON_DISK and folder:
        if "white" in named:
            named["white"] = _number(named["white"])
        return source_from_dict({"folder": folder, **named, "kind": kind})
    if place == Shapes.kind:
        numbers = {name: int(value) if str(value).isdigit() else value for name, value in named.items()}
        return source_from_dict({**numbers, "kind": kind})
    raise UserError(f"--data is {text!r}; allowed are shapes, coco:DIR and voc:DIR")


def _number(value: object) -> object:
    """Read a number; what is none comes back, for the source to name it."""
    try:
        return float(str(value))
    except ValueError:
        return value
