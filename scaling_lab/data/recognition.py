"""Tells by its content what kind of data set a folder is, and which of its splits to train on. It reads no annotation."""

from __future__ import annotations

import os
from pathlib import Path

from scaling_lab.data import Source, coco, parse_source, voc_xml
from scaling_lab.data.coco import Coco
from scaling_lab.data.shapes import Shapes
from scaling_lab.data.voc import Voc
from scaling_lab.errors import UserError


def find_source(text: str) -> Source:
    """Read what --data takes, or a folder alone. Raises UserError for a folder in no known layout."""
    kind, colon, _ = text.partition(":")
    if text == Shapes.kind or (colon and kind in (Coco.kind, Voc.kind)):
        return parse_source(text)
    root = Path(os.path.expanduser(text))
    if not root.is_dir():
        raise UserError(f"there is no folder {text}; allowed are shapes, a folder, coco:DIR and voc:DIR")
    source = _recognised(root)
    if source is None:
        inner = [str(child) for child in sorted(root.glob("*")) if child.is_dir() and _recognised(child) is not None]
        raise UserError(
            f"{text} holds neither annotations/instances_*.json, as COCO's layout does, nor Annotations/ and "
            f"ImageSets/Main/*.txt, as VOC's does{f'; {inner[0]} is such a folder' if inner else ''}"
        )
    return source


def _recognised(root: Path) -> Source | None:
    kinds = ((Coco, coco.splits(root)), (Voc, voc_xml.split_names(root)))
    for kind, names in kinds:
        if names:
            train = _chosen(names, kind.train, "train")
            return kind(folder=str(root), train=train, val=_chosen(names, kind.val, "val", "test"))
    return None


def _chosen(names: list[str], usual: str, *beginnings: str) -> str:
    """Give the usual name where there is such a split, else the first that begins so; the usual one where there is none."""
    found = [name for beginning in beginnings for name in names if name.startswith(beginning)]
    return usual if usual in names or not found else found[0]
