"""Decodes a regular file in COCO's format into columns, block by block: for a file of any size, in 150 MB of memory.

    {"info": …, "images": [ … ], "annotations": [ … ], "categories": [ … ]}

The two long lists are cut into blocks behind an object. msgspec decodes each block as a list of typed records, without
what is not needed, such as segmentations. What is left, with a mark in place of each list, is decoded as a whole.

Nothing is guessed. "[" + block + "]" is a list only if the block ends between two records. A mark is read back only if its
list is a value of the outermost object.

A file that is in any way irregular gives None. Another reader then accepts it or says what is wrong.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from scaling_lab.data.columns import Images

BLOCK = 4 * 2**20
# A list's beginning may lie across two blocks, by at most this many bytes.
_OVERLAP = 256
# A cut that may lie within a record is tried at so many places.
_TRIES = 8
# What is outside the two lists, such as categories, is decoded as a whole.
_MOST_OUTSIDE = 64 * 2**20

_LIST = re.compile(rb'"(images|annotations)"\s*:\s*\[')
_EMPTY, _END, _BETWEEN = re.compile(rb"\s*\]"), re.compile(rb"\}\s*\]"), re.compile(rb"\}\s*,\s*\{")


class _Image(msgspec.Struct, gc=False):
    id: int
    file_name: str
    width: int
    height: int


class _Object(msgspec.Struct, gc=False):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float = math.nan
    iscrowd: int = 0
    id: Any = msgspec.UNSET


@dataclass(frozen=True, eq=False)
class Decoded:
    """The columns of a file, and the `rest` of it. An `area` that the file lacks is NaN.

    `image` has indices of images, `category` ids in the file. `ids` are the objects' own, of any type, UNSET where missing.
    """

    rest: dict[str, Any]
    images: Images
    image: np.ndarray
    category: np.ndarray
    bbox: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    ids: list[Any]


class _Irregular(Exception):
    """The file is not what this reader reads."""


def decode(path: Path, *, most_pixels: int, most_coordinate: float) -> Decoded | None:
    """Return the columns of a file whose values are all as COCO's format has them, else None. Raises OSError.

    Sides of images are up to `most_pixels`, and numbers of boxes up to `most_coordinate`.
    """
    try:
        with path.open("rb", buffering=0) as file:
            reader = _Reader(file.fileno())
            images, objects = _Images(), _Objects()
            rest = reader.read({b"images": images, b"annotations": objects})
        return _decoded(rest, images, objects, most_pixels, most_coordinate)
    except (_Irregular, UnicodeError, OverflowError, msgspec.MsgspecError):
        return None


# --- values ----------------------------------------------------------------------------------------------------------


def _decoded(
    rest: dict[str, Any], images: _Images, objects: _Objects, most_pixels: int, most_coordinate: float
) -> Decoded:
    ids, sides = _joined(images.ids, np.int64), _joined(images.sides, np.int64).reshape(-1, 2)
    owner, category, crowd = (_joined(each, np.int64) for each in (objects.image, objects.category, objects.crowd))
    bbox, area = _joined(objects.bbox, np.float64).reshape(-1, 4), _joined(objects.area, np.float64)
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    places = np.searchsorted(ordered, owner).clip(max=max(0, len(ids) - 1))
    fits = (
        bool(len(ids))
        and bool((np.diff(ordered) > 0).all())
        and bool((ordered[places] == owner).all())
        and bool(((sides > 0) & (sides <= most_pixels)).all())
        and bool((np.abs(bbox) <= most_coordinate).all())
        and bool((bbox[:, 2:] >= 0).all())
        and bool(((area >= 0) | np.isnan(area)).all())
        and bool(((crowd == 0) | (crowd == 1)).all())
        and all(name.strip() for name in images.names)
    )
    if not fits:
        raise _Irregular
    found = Images(tuple(images.names), sides.astype(np.int32), tuple(ids.tolist()))
    return Decoded(
        rest, found, order[places].astype(np.int32), category, bbox, area, crowd.astype(bool), objects.ids
    )  # fmt: skip


def _joined(parts: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=kind)


@dataclass(eq=False)
class _Images:
    """The images' columns, a part for each block."""

    decoder = msgspec.json.Decoder(list[_Image])
    names: list[str] = field(default_factory=list)
    ids: list[np.ndarray] = field(default_factory=list)
    sides: list[np.ndarray] = field(default_factory=list)

    def add(self, records: list[_Image]) -> None:
        self.names += [each.file_name for each in records]
        self.ids.append(_column((each.id for each in records), np.int64, len(records)))
        self.sides.append(
            _column(chain.from_iterable((each.height, each.width) for each in records), np.int64, 2 * len(records))
        )


@dataclass(eq=False)
class _Objects:
    """The objects' columns, a part for each block."""

    decoder = msgspec.json.Decoder(list[_Object])
    ids: list[Any] = field(default_factory=list)
    image: list[np.ndarray] = field(default_factory=list)
    category: list[np.ndarray] = field(default_factory=list)
    bbox: list[np.ndarray] = field(default_factory=list)
    area: list[np.ndarray] = field(default_factory=list)
    crowd: list[np.ndarray] = field(default_factory=list)

    def add(self, records: list[_Object]) -> None:
        count = len(records)
        self.ids += [each.id for each in records]
        self.image.append(_column((each.image_id for each in records), np.int64, count))
        self.category.append(_column((each.category_id for each in records), np.int64, count))
        self.bbox.append(_column(chain.from_iterable(each.bbox for each in records), np.float64, 4 * count))
        self.area.append(_column((each.area for each in records), np.float64, count))
        self.crowd.append(_column((each.iscrowd for each in records), np.int8, count))


def _column(values: Any, kind: Any, count: int) -> np.ndarray:
    """Return values as an array. Raises OverflowError for a number that the type cannot hold."""
    return np.fromiter(values, dtype=kind, count=count)


# --- the file in blocks ----------------------------------------------------------------------------------------------


class _Reader:
    """Reads a file once, from its beginning."""

    def __init__(self, file: int) -> None:
        self._file, self._place, self._size = file, 0, os.fstat(file).st_size

    def read(self, lists: dict[bytes, Any]) -> dict[str, Any]:
        """Give the records of each list to its columns, and return the rest of the file. Raises _Irregular."""
        outside, found = [], set()
        while self._place < self._size:
            block = self._block(BLOCK)
            begin = _LIST.search(block)
            if begin is None:
                is_last = self._place + len(block) >= self._size
                taken = len(block) if is_last else max(1, len(block) - _OVERLAP)
                outside.append(block[:taken])
                self._place += taken
            else:
                name = begin[1]
                if name in found:
                    raise _Irregular
                found.add(name)
                outside.append(block[: begin.end()] + _mark(name) + b"]")
                self._place += begin.end()
                for records in self._records(lists[name].decoder):
                    lists[name].add(records)
            if sum(map(len, outside)) > _MOST_OUTSIDE:
                raise _Irregular
        try:
            rest = json.loads(b"".join(outside))
        except (ValueError, RecursionError):
            raise _Irregular from None
        if not isinstance(rest, dict) or any(rest.get(name.decode()) != [json.loads(_mark(name))] for name in lists):
            raise _Irregular
        return rest

    def _block(self, size: int) -> bytes:
        block = os.pread(self._file, size, self._place)
        if not block:
            raise _Irregular
        return block

    def _records(self, decoder: Any) -> Iterator[list[Any]]:
        """Yield the records of the list that begins here, a list for each block, and go behind its end."""
        size = BLOCK
        while True:
            block = self._block(size)
            if end := _EMPTY.match(block):
                self._place += end.end()
                return
            records, taken, is_end = _cut(block, decoder)
            if not taken:
                if self._place + len(block) >= self._size or size >= _MOST_OUTSIDE:
                    raise _Irregular
                size *= 2  # a record is longer than the block
                continue
            yield records
            self._place += taken
            if is_end:
                return
            size = BLOCK


def _cut(block: bytes, decoder: Any) -> tuple[list[Any], int, bool]:
    """Return the first records of a block, their bytes with the comma behind them, and whether the list ends there.

    No records where the first one is not whole. Raises msgspec's ValidationError for a value of another type, and
    _Irregular where no cut is found.
    """
    tried = False
    for end, after, is_end in _cuts(block):
        tried = True
        records = _try(block[:end] + b"]", decoder)
        if records is not None:
            return records, after, is_end
    if tried:
        raise _Irregular
    return [], 0, False


def _cuts(block: bytes) -> Iterator[tuple[int, int, bool]]:
    """Yield where the last whole record of a block may end, where to go on, and whether that is behind the end of the list.

    The last object before another is the likeliest. In the block where the list ends, it is of a later list, and the first
    end of a list is right. Objects within records come last.
    """
    between = islice(_between(block), _TRIES)
    yield from islice(between, 1)
    for end in islice(_END.finditer(block), _TRIES):
        yield end.start() + 1, end.end(), True
    yield from between


def _between(block: bytes) -> Iterator[tuple[int, int, bool]]:
    """Yield the places between two objects, from the last."""
    brace = len(block)
    while (brace := block.rfind(b"}", 0, brace)) >= 0:
        if found := _BETWEEN.match(block, brace):
            yield brace + 1, found.end() - 1, False


def _try(block: bytes, decoder: Any) -> list[Any] | None:
    """Decode the records of a list without its opening bracket; None where that is no list."""
    if not block.isascii():
        block.decode()  # msgspec does not look at the texts that it skips
    try:
        records: list[Any] = decoder.decode(b"[" + block)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return None
    return records


def _mark(name: bytes) -> bytes:
    return b'"the list of ' + name + b' was here"'
