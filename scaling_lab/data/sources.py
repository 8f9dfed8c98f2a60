"""The kinds of data source: the formats on disk, and Shapes."""

from __future__ import annotations

import dataclasses
import os
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


def absolute(source: Source) -> Source:
    """Return the source with its folder as an absolute path, for a process with another working or home folder."""
    if isinstance(source, Shapes):
        return source
    return dataclasses.replace(source, folder=os.path.abspath(os.path.expanduser(source.folder)))
