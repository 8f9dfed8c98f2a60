"""Recognises a folder's format and splits by its content, for --data."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaling_lab.data.coco import Coco
from scaling_lab.data.shapes import Shapes
from scaling_lab.data.source_words import place_and_fields, values_of
from scaling_lab.data.sources import ON_DISK, Source, source_from_dict
from scaling_lab.data.yolo import Yolo
from scaling_lab.errors import UserError

# Beginnings of split names, in any case, the likeliest first.
TRAIN, VAL = ("train",), ("val", "test")
_MOST_NAMED = 10
# The format of a single file, by its ending.
_BY_ENDING = {".json": Coco.kind, ".yaml": Yolo.kind, ".yml": Yolo.kind, ".data": Yolo.kind}


def parse_source(text: str) -> Source:
    """Parse the command line's --data: "shapes", a folder whose format is recognised, or KIND:DIR.

    Fields follow after commas, as in "shapes,train_images=2048", "/data/mine,val_fraction=0.2" and
    "voc:DIR,train=trainval,classes=found,skip_broken"; a field without a value is True. Splits that are not given are
    found. Raises UserError for a folder of unknown format, or without held-out images.
    """
    place, fields = place_and_fields(text, ON_DISK)
    given = {name: str(value) for name, value in fields.items()}
    kind, colon, folder = place.partition(":")
    if place == Shapes.kind:
        return source_from_dict({**values_of(Shapes, fields), "kind": Shapes.kind})
    if colon and kind in ON_DISK and folder:
        found = _fields(folder, (kind,), given) if Path(os.path.expanduser(folder)).exists() else {"folder": folder}
        return source_from_dict({**found, **values_of(ON_DISK[kind], fields), "kind": kind})
    if not place or not Path(os.path.expanduser(place)).exists():
        raise UserError(f"--data is {text!r}, which is not a folder; allowed are {allowed()}")
    found = _fields(place, tuple(ON_DISK), given)
    return source_from_dict({**found, **values_of(ON_DISK[found["kind"]], fields)})


def allowed() -> str:
    """Return the allowed values of --data, as text."""
    *others, last = (f"{kind}:DIR" for kind in ON_DISK)
    return f"shapes, a folder, {', '.join(others)} and {last}"


# --- a folder --------------------------------------------------------------------------------------------------------


def _fields(folder: str, kinds: tuple[str, ...], given: Mapping[str, str]) -> dict[str, Any]:
    """Return kind, folder and splits of a folder or file, except given ones. Raises UserError."""
    path = Path(os.path.expanduser(folder))
    root, named = folder, dict(given)
    look = path
    if path.is_file():
        kinds = (_kind_of_file(path, kinds),)
        named = {("train" if path.suffix.lower() == ".json" else "config"): path.name, **given}
        root = str(Path(folder).parent)
        look = path if "config" in named else path.parent
    elif "config" in given:
        look = path / given["config"]
    problem: UserError | None = None
    for kind in kinds:
        try:
            names = ON_DISK[kind].splits_in(look)
            if named.get("train", "").endswith(".json"):
                names = [named["train"], *names]
            if names or len(kinds) == 1:
                own = {name: value for name, value in named.items() if name not in given}
                return {"kind": kind, "folder": root, **own, **_splits(folder, root, kind, names, named)}
        except UserError as error:  # another format may hold both splits
            problem = problem or error
    raise problem or UserError(_unknown(folder, path))


def _splits(text: str, root: str, kind: str, names: list[str], given: Mapping[str, str]) -> dict[str, Any]:
    """Choose the splits by name; `text` is the --data text. Raises UserError where none can be held out."""
    source = ON_DISK[kind]
    defaults = {field.name: field.default for field in dataclasses.fields(source) if field.name in ("train", "val")}
    train = given.get("train") or _chosen(names, str(defaults["train"]), TRAIN)
    if train is None and len(names) == 1:
        held_out = _chosen(names, str(defaults["val"]), VAL)
        if held_out is not None and "val_fraction" not in given:
            return {"val": held_out}  # enough to evaluate
        train = names[0]
    if not names:
        return {}
    if "train" in given and "val" in given:
        return source.fields_for(Path(os.path.expanduser(root)), given["train"], given["val"])
    if train is None:
        listed = ", ".join(names[:_MOST_NAMED])
        raise UserError(
            f"{text} has the splits {listed}, but none that begins with train; "
            f"name them, as in --data {text},train={names[0]},val={names[1]}"
        )
    others = [name for name in names if name != train]
    val = given.get("val") or _chosen(others, str(defaults["val"]), VAL)
    if "val_fraction" in given:
        val = train
    elif val is None:
        more = f" (other splits, for val=NAME: {', '.join(others[:_MOST_NAMED])})" if others else ""
        raise UserError(
            f"{text} has training images ({kind}, {train}) but no held-out ones{more}; "
            f"--data {text},val_fraction=0.2 holds out a fifth of them, selected by name"
        )
    return {"train": train, "val": val, **source.fields_for(Path(os.path.expanduser(root)), train, val)}


def _chosen(names: list[str], usual: str, beginnings: tuple[str, ...]) -> str | None:
    """Return the usual name if there is such a split, else the first with one of the beginnings."""
    if usual in names:
        return usual
    return next((name for beginning in beginnings for name in names if name.lower().startswith(beginning)), None)


def _kind_of_file(path: Path, kinds: tuple[str, ...]) -> str:
    kind = _BY_ENDING.get(path.suffix.lower())
    if kind not in kinds:
        raise UserError(f"{path} is a file; allowed are a folder, COCO's .json and YOLO's .yaml")
    return kind


def _unknown(folder: str, path: Path) -> str:
    layouts = "; ".join(source.layout for source in ON_DISK.values())
    if _is_labelme(path):
        return (
            f"{folder} holds labelme files, one JSON for each image, which are not supported; "
            "convert them to COCO's format (examples/bbox_detection/labelme2coco in labelme's repository, or labelme2coco of pip)"
        )
    if (path / "labels").is_dir() and (path / "images").is_dir():
        return f"{folder} holds images/ and labels/, but no data.yaml or classes.txt with the class names; add one"
    children = [child for child in sorted(path.glob("*")) if child.is_dir()]
    inner = next((child for child in children if any(each.splits_in(child) for each in ON_DISK.values())), None)
    hint = f"; {inner} is such a folder" if inner is not None else ""
    return f"{folder} is in no known data format; allowed are: {layouts}{hint}"


def _is_labelme(path: Path) -> bool:
    """Whether the first JSON file of a folder is labelme's."""
    for file in sorted(path.glob("*.json"))[:1]:
        try:
            content = json.loads(file.read_bytes())
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(content, dict) and {"shapes", "imagePath"} <= set(content)
    return False
