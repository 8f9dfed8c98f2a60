"""Finds the image files that annotations mean, despite foreign folders, backslashes or another letter case."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from scaling_lab.checks import nearest
from scaling_lab.errors import printable

ENDINGS = frozenset(
    (
        ".avif",
        ".bmp",
        ".gif",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pgm",
        ".png",
        ".ppm",
        ".tga",
        ".tif",
        ".tiff",
        ".webp",
    )
)
_MOST_LOOKED_AT, _MOST_COMPARED = 50, 1000
_SLASHES = "with / for \\"


@dataclass(frozen=True)
class Found:
    """Locations of a split's images: `folder` / name, except names in `moved`. `hints` list files like a missing one."""

    folder: Path
    moved: dict[str, Path]
    hints: dict[str, str]
    remarks: tuple[str, ...]

    def path(self, name: str) -> Path:
        """Return the path of an image, which may be missing."""
        return self.moved.get(name) or self.folder / name


def find_images(folders: Sequence[Path], root: Path, names: Sequence[str]) -> Found:
    """Find each name in the folder with most of the first names, and other names below `root` too.

    A name is read with changes only where it then means exactly one file, which no other name means.
    """
    look = _Look(root)
    first = [name.replace("\\", "/") for name in names[:_MOST_LOOKED_AT]]

    def fits(folder: Path) -> tuple[int, int]:
        """Count the first names that a folder contains, in full and by last component."""
        whole = sum(look.has(folder / name) for name in first if folder != root or "/" not in name)
        return whole, sum(look.has(folder / PurePosixPath(name).name) for name in first)

    folder = max(folders, key=fits)
    missing = [name for name in dict.fromkeys(names) if not look.has(folder / name)]
    if not missing:
        return Found(folder, {}, {}, ())
    readings = {name: next(_ways(name, folder, look), None) for name in missing}
    there = Counter(folder / name for name in set(names))
    there.update(path for reading in readings.values() if reading for path in reading.paths)
    moved: dict[str, Path] = {}
    hints: dict[str, str] = {}
    examples: dict[str, list[str]] = defaultdict(list)
    for name, reading in readings.items():
        if reading and reading.sure and len(reading.paths) == 1 and there[reading.paths[0]] == 1:
            moved[name] = reading.paths[0]
            examples[reading.words].append(name)
        elif reading:
            hints[name] = f"{_listed(path.relative_to(root) for path in reading.paths)} would match {reading.words}"
    unknown = next((name for name in missing if name not in moved and name not in hints), None)
    if unknown is not None:
        hints[unknown] = _nearest(unknown, folder, look)
    remarks = [
        f"{len(read):,} file names are read {words}: {printable(read[0])} is {printable(str(moved[read[0]].relative_to(root)))}"
        for words, read in examples.items()
    ]
    return Found(folder, moved, hints, tuple(remarks))


def is_image(path: Path) -> bool:
    """Return whether a name has an image file's ending."""
    return path.suffix.lower() in ENDINGS


@dataclass
class _Look:
    """Files on the disk; each folder is listed once."""

    root: Path
    _listed: dict[Path, frozenset[str]] = field(default_factory=dict)
    _by_name: dict[str, list[Path]] | None = None

    def has(self, path: Path) -> bool:
        return path.name in self.names(path.parent)

    def names(self, folder: Path) -> frozenset[str]:
        if folder not in self._listed:
            try:
                self._listed[folder] = frozenset(os.listdir(folder))
            except (OSError, ValueError):
                self._listed[folder] = frozenset()
        return self._listed[folder]

    def like(self, key: str) -> list[Path]:
        """Return the images below the root with this key of `_loose` or `_stem`."""
        if self._by_name is None:
            self._by_name = defaultdict(list)
            for folder, _, files in os.walk(self.root):
                for file in files:
                    if is_image(Path(file)):
                        for name in (_loose(file), _stem(file)):
                            self._by_name[name].append(Path(folder, file))
        return sorted(self._by_name.get(key, []))


@dataclass(frozen=True)
class _Reading:
    """Files that a name may mean; `sure` where they are in the split's own folder, so that one is meant."""

    words: str
    paths: list[Path]
    sure: bool = True


def _ways(name: str, folder: Path, look: _Look) -> Iterator[_Reading]:
    """Yield the files found by each reading of a name, the likeliest first."""
    plain = name.replace("\\", "/")
    parts = [part for part in PurePosixPath(_of_address(plain)).parts if part not in ("/", ".")]
    if not parts or parts[-1] == "..":
        return
    for start in range(len(parts)):
        tail = Path(*parts[start:])
        for base in (folder, look.root):
            if look.has(base / tail):
                words = "without their leading folders" if start else "from the data set's folder"
                yield _Reading(_SLASHES if plain != name and not start else words, [base / tail])
    for key, words in ((_loose, "in another letter case or spelling"), (_stem, "with another ending")):
        found = look.like(key(parts[-1]))
        own = [path for path in found if folder in path.parents]
        if own:
            yield _Reading("from another folder" if own[0].name == parts[-1] else words, own)
        elif found:
            yield _Reading("from another folder", found, sure=False)


def _of_address(name: str) -> str:
    """Return the path of a URL without its query; other names unchanged."""
    return unquote(urlsplit(name).path) if "://" in name else name


def _loose(name: str) -> str:
    return unicodedata.normalize("NFC", unquote(name)).casefold().strip()


def _stem(name: str) -> str:
    """Return a name without an image ending."""
    path = Path(_loose(name))
    return f"{path.stem if path.suffix in ENDINGS else path.name}\n"  # so that it equals no key of `_loose`


def _nearest(name: str, folder: Path, look: _Look) -> str:
    """Return a hint at a file of similar spelling; names that differ only in digits are other images."""
    base = PurePosixPath(name.replace("\\", "/")).name
    others = [each for each in sorted(look.names(folder))[:_MOST_COMPARED] if _letters(each) != _letters(base)]
    near = nearest(base, others)
    return "" if near is None else f"{printable(near)} has a similar name"


def _letters(name: str) -> str:
    return "".join(each for each in name if not each.isdigit())


def _listed(paths: Iterable[Path]) -> str:
    names = [printable(str(path)) for path in paths]
    return " and ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
