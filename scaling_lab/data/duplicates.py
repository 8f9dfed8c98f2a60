"""Finds image files with identical bytes: compares sizes, then bytes in the middle, then whole files."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_MIDDLE = 4096


@dataclass(frozen=True)
class Copies:
    """Images with identical files: groups of indices in one split, and pairs of indices across the splits."""

    within: dict[str, list[list[int]]]
    across: list[tuple[int, int]]


def find_copies(train: Sequence[Path], val: Sequence[Path]) -> Copies:
    """Compare all files of both splits. Unreadable files match none."""
    places = {("train", place): path for place, path in enumerate(train)}
    places |= {("val", place): path for place, path in enumerate(val)}
    groups = [list(places)]
    for key in (_size, _middle, _whole):
        groups = [same for group in groups for same in _same(group, lambda place, key=key: key(places[place]))]  # type: ignore[misc]
    within: dict[str, list[list[int]]] = {"train": [], "val": []}
    across = []
    for group in groups:
        own = {split: [place for each, place in group if each == split] for split in within}
        for split, found in own.items():
            if len(found) > 1:
                within[split].append(found)
        if own["train"]:
            across += [(own["train"][0], place) for place in own["val"]]
    return Copies(within, across)


def _same(group: Iterable[tuple[str, int]], key: Callable[[tuple[str, int]], Hashable]) -> list[list[tuple[str, int]]]:
    """Return the subgroups that share a key, without single members and missing keys."""
    parts: dict[Hashable, list[tuple[str, int]]] = defaultdict(list)
    for place in group:
        parts[key(place)].append(place)
    return [part for found, part in parts.items() if len(part) > 1 and found is not None]


def _size(path: Path) -> Hashable:
    try:
        return path.stat().st_size or None
    except (OSError, ValueError):
        return None


def _middle(path: Path) -> Hashable:
    """Return bytes from the middle of a file, since a camera's images begin alike."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size // 2 - _MIDDLE // 2))
            return file.read(_MIDDLE)
    except OSError:
        return None


def _whole(path: Path) -> Hashable:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None
