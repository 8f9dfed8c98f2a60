"""Finds the images of a YOLO configuration, even if its paths are from another machine."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from scaling_lab.data.image_files import is_image
from scaling_lab.data.yolo_config import Config
from scaling_lab.errors import UserError, printable
from scaling_lab.files import read_bytes


def image_files(config: Config, split: str) -> list[Path]:
    """Return the images of a split, each once, in the order of its folders and lists. Raises UserError."""
    files: list[Path] = []
    for entry in config.splits[split]:
        path = _found(entry, _bases(config))
        if path is None:
            files += _matching(config, split, entry)
        elif path.is_dir():
            files += _inside(path)
        elif path.suffix.lower() == ".txt":
            files += _of_list(config, path)
        elif is_image(path):
            files.append(path)
        else:
            raise UserError(
                f"{config.path}: {split} is {printable(entry)}; allowed is a folder, or a .txt file of images"
            )
    if not files:
        names = printable(", ".join(config.splits[split]))
        raise UserError(f"{config.path}: {split} is {names}, which has no image; allowed is one with images")
    return list(dict.fromkeys(files))


def _bases(config: Config) -> list[Path]:
    """Return the base folders of relative paths: the configuration's `path`, if it exists, and its own folder."""
    own = Path(os.path.normpath(config.folder))
    named = _found(config.base, [own]) if config.base else None
    return [named, own] if named is not None and named.is_dir() else [own]


def _found(written: str, bases: list[Path]) -> Path | None:
    """Return the file or folder that a path means: as written, else its longest end below one of the bases.

    This finds "../train/images" next to data.yaml, as Roboflow means it, and "/home/me/set/images" in the data set.
    """
    plain = written.replace("\\", "/")
    itself = Path(os.path.expanduser(plain))
    if itself.is_absolute() and os.path.exists(itself):
        return itself
    named = (Path(os.path.normpath(base / plain)) for base in bases)
    tails = (base / tail for tail in _tails(plain) for base in bases)
    return next((path for path in (*named, *tails) if os.path.exists(path)), None)


def _tails(path: str) -> Iterator[Path]:
    """Yield the non-empty ends of a path without "..", the longest first."""
    parts = [part for part in PurePosixPath(path).parts if part not in ("..", ".", "/")]
    for start in range(len(parts)):
        yield Path(*parts[start:])


def _inside(folder: Path) -> list[Path]:
    """Return all images of a folder and its subfolders."""
    return sorted(Path(place, name) for place, _, names in os.walk(folder) for name in names if is_image(Path(name)))


def _matching(config: Config, split: str, entry: str) -> list[Path]:
    """Return the images that match a pattern with *. Raises UserError."""
    if "*" in entry:
        for base in _bases(config):
            found = sorted(Path(path) for path in glob.glob(str(base / entry), recursive=True) if is_image(Path(path)))
            if found:
                return found
    where = " or ".join(str(base) for base in _bases(config))
    raise UserError(
        f"{config.path}: {split} is {printable(entry)}, but no end of that path exists in {where}; correct the path"
    )


def _of_list(config: Config, file: Path) -> list[Path]:
    """Return the images of a list with one path a line, looking up each folder once. Raises UserError."""
    try:
        lines = [line.strip() for line in read_bytes(file).decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not text in UTF-8: {error}") from None
    bases = list(dict.fromkeys([file.parent, *_bases(config)]))
    folders: dict[str, Path | None] = {}
    files = []
    for number, line in enumerate(lines, 1):
        folder, _, name = line.replace("\\", "/").rpartition("/")
        if folder not in folders:
            folders[folder] = _found(folder, bases) if folder else file.parent
        place = folders[folder]
        if place is None:
            raise UserError(f"{file}, line {number}, is {printable(line)}; no end of that path exists in {bases[0]}")
        files.append(place / name)
    return files
