"""Reads the configuration of a YOLO data set: data.yaml, obj.data or classes.txt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from scaling_lab.checks import is_whole
from scaling_lab.errors import UserError, first_line
from scaling_lab.files import read_bytes

SPLITS = ("train", "val", "valid", "validation", "test")
MOST_CLASSES = 100_000
_NAMES_FILES = ("classes.txt", "labels/classes.txt", "obj.names", "data/obj.names")


@dataclass(frozen=True)
class Config:
    """A file's class names, and the folders, lists or patterns of each split.

    Paths are relative to `folder`, and to `base` in it, the file's own `path`.
    """

    path: Path
    folder: Path
    names: tuple[str, ...]
    splits: dict[str, tuple[str, ...]]
    base: str = ""
    has_keypoints: bool = False


def find_config(root: Path) -> Path | None:
    """Return a folder's configuration file, or None."""
    yamls = sorted((*root.glob("*.yaml"), *root.glob("*.yml")), key=lambda path: (path.stem != "data", path.name))
    for path in yamls:
        if path.stem == "data":
            return path  # errors in it are raised when it is read
        try:
            values = _load(path)
        except UserError:
            continue
        if isinstance(values, dict) and any(values.get(name) for name in SPLITS) and {"names", "nc"} & set(values):
            return path
    for path in sorted((*root.glob("*.data"), *root.glob("*/*.data"))):
        if b"names" in read_bytes(path):
            return path
    found = next((root / name for name in _NAMES_FILES if (root / name).is_file()), None)
    return found if found is not None and ((root / "labels").is_dir() or _has_labels(root)) else None


def _has_labels(root: Path) -> bool:
    """Return whether label files are next to the list of classes, as LabelImg writes them."""
    return any(path.name not in ("classes.txt", "notes.txt") for path in root.glob("*.txt"))


def read_config(path: Path) -> Config:
    """Read and check the file; cached until it changes. Raises UserError."""
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    return _read(path, (status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=8)
def _read(path: Path, stamp: tuple[int, int]) -> Config:
    return _READERS.get(path.suffix.lower(), _of_names)(path)


# --- data.yaml -------------------------------------------------------------------------------------------------------


def _of_yaml(path: Path) -> Config:
    values = _load(path)
    if not isinstance(values, dict):
        raise UserError(f"{path} holds a {type(values).__name__}; allowed is a mapping with names, train and val")
    base = values.get("path") or ""
    if not isinstance(base, str):
        raise UserError(f"{path}: path is not text; allowed is the name of a folder")
    splits = {name: _entries(path, name, values[name]) for name in SPLITS if values.get(name)}
    return Config(path, path.parent, _names(path, values), splits, base, has_keypoints="kpt_shape" in values)


def _load(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(_text(path))
    except RecursionError:
        raise UserError(f"{path} is nested too deeply; allowed is a mapping with names, train and val") from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise UserError(f"{path} is not YAML: {getattr(error, 'problem', None) or first_line(error)}{where}") from None


def _entries(path: Path, name: str, value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) and item.strip() for item in items):
        raise UserError(f"{path}: {name} is not text; allowed is a folder, a .txt file, or a list of them")
    return tuple(item.strip() for item in items)


def _names(path: Path, values: dict[Any, Any]) -> tuple[str, ...]:
    names, count = values.get("names"), values.get("nc")
    if count is not None and not (is_whole(count) and 0 < count <= MOST_CLASSES):
        raise UserError(f"{path} has nc {count!r}; allowed is the number of classes")
    if isinstance(names, str):
        found = _lines(path.parent / names)
    elif isinstance(names, dict):
        numbers = sorted(names, key=str) if not all(map(is_whole, names)) else sorted(names)
        if numbers != list(range(len(names))):
            raise UserError(
                f"{path} has names for {', '.join(map(str, numbers[:5]))}, …; allowed are 0, 1, 2, … without gaps"
            )
        found = [names[number] for number in numbers]
    elif isinstance(names, list):
        found = names
    elif names is None and count is not None:
        found = [f"class {number}" for number in range(count)]
    else:
        raise UserError(f"{path} lacks names; allowed is a list of class names, or a mapping from numbers from 0")
    if not all(isinstance(name, (str, int, float)) for name in found) or not found:
        raise UserError(f"{path} has names that are not text; allowed is a name for each class")
    texts = [str(name).strip() for name in found]
    if count is not None and count != len(texts):
        raise UserError(f"{path} has nc {count} but {len(texts)} names; allowed are equal numbers")
    twice = next((name for name in texts if texts.count(name) > 1), None) if len(set(texts)) < len(texts) else None
    if twice is not None:
        raise UserError(f"{path} has the name {twice!r} twice; allowed is once")
    return tuple(texts)


# --- obj.data, classes.txt -------------------------------------------------------------------------------------------


def _of_darknet(path: Path) -> Config:
    """Read darknet's `key = value` lines; paths are relative to darknet's working folder. Raises UserError."""
    values: dict[Any, Any] = {}
    for line in _lines(path):
        key, equals, value = line.partition("=")
        if equals and not key.strip().startswith("#"):
            values[key.strip()] = value.strip()
    names = values.get("names", "")
    files = [base / part for base in (path.parent, path.parent.parent) for part in (names, Path(names).name) if names]
    file = next((each for each in files if each.is_file()), None)
    if file is None:
        raise UserError(f"{path} has names {names!r}, which is not a file; allowed is a file with one class a line")
    splits: dict[str, tuple[str, ...]] = {name: (values[name],) for name in SPLITS if values.get(name)}
    return Config(path, path.parent, _names(path, {"names": _lines(file)}), splits)


def _of_names(path: Path) -> Config:
    """Return the configuration of a bare list of classes, from the existing folders."""
    root = path.parent.parent if path.parent.name == "labels" else path.parent
    folders: dict[str, tuple[str, ...]] = {
        name: (entry,) for name in SPLITS for entry in (f"images/{name}", f"{name}/images") if (root / entry).is_dir()
    }
    if not folders:
        folders = {"train": ("images" if (root / "images").is_dir() else ".",)}
    return Config(path, root, _names(path, {"names": _lines(path)}), folders)


def _text(path: Path) -> str:
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text in UTF-8: {error}") from None


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in _text(path).splitlines() if line.strip()]


_READERS: dict[str, Callable[[Path], Config]] = {".yaml": _of_yaml, ".yml": _of_yaml, ".data": _of_darknet}
