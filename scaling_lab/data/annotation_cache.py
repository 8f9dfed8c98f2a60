"""Large annotation files as memory-mapped columns, decoded once for all processes of a machine, and their digests.

    <cache>/<path>-<state>.npy      the objects, a row each
    <cache>/<path>-<state>.json     all else; written last, so that it means that both are complete
    <cache>/<path>-<state>.sha256   the digest of the annotation file

<path> is a hash of the file's path, <state> of its size, times and inode, and of VERSION. Writing removes the files of other
states of the same path. The folder is $SCALING_LAB_CACHE, or scaling_lab in $XDG_CACHE_HOME or ~/.cache. Where it
cannot be written, every process decodes the file itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np

from scaling_lab.data.annotations import read_annotations
from scaling_lab.data.columns import Images, Objects
from scaling_lab.data.entries import Annotations
from scaling_lab.files import WriteError, make_folder, whole_file, write_bytes

# Raise it with every change after which the same file gives other columns or remarks.
VERSION = 1
# Smaller files are decoded in less than a tenth of a second.
LEAST_BYTES = 8 * 2**20

_ROW = np.dtype(
    [("bbox", np.float64, 4), ("area", np.float64), ("image", np.int32), ("label", np.int32), ("crowd", np.bool_)],
    align=True,
)


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """All but the objects. Ids are texts, since they may be of any length."""

    objects: int
    names: list[str]
    sizes: list[tuple[int, int]]
    ids: list[str]
    class_names: list[str]
    category_ids: list[str]
    outside: list[str]
    misread: str
    remarks: list[str]
    placeholders: list[str]


def read_cached(path: Path) -> Annotations:
    """Return what `read_annotations` does, from the cache where the same state of the file was read before."""
    base = _base(path)
    if base is None:
        return read_annotations(path)
    found = _load(base)
    if found is None:
        found = read_annotations(path)
        if base == _base(path):  # the file did not change meanwhile
            _store(base, found)
    return found


def digest_cached(path: Path) -> bytes:
    """Return the SHA-256 of a file's bytes, from the cache where the same state of a large file was read before."""
    base = _base(path)
    kept = None if base is None else base.with_suffix(".sha256")
    if kept is not None:
        with contextlib.suppress(OSError):
            content = kept.read_bytes()
            if len(content) == hashlib.sha256().digest_size:
                return content
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    if kept is not None and base == _base(path):
        with contextlib.suppress(WriteError):
            _make_room(kept)
            write_bytes(kept, digest)
    return digest


def _base(path: Path) -> Path | None:
    """Return the path of a file's entry without an ending; None for a small or missing file."""
    try:
        seen, real = path.stat(), os.path.realpath(path)
    except OSError:
        return None
    if seen.st_size < LEAST_BYTES:
        return None
    state = f"{VERSION} {seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns} {seen.st_ino}"
    return _folder() / f"{_hash(real)}-{_hash(state)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def _folder() -> Path:
    if own := os.environ.get("SCALING_LAB_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "scaling_lab")


def _make_room(path: Path) -> None:
    """Make the folder and remove the files of other states of the same annotation file. Raises WriteError."""
    make_folder(path.parent)
    same, other = path.stem, path.stem.partition("-")[0]
    for old in path.parent.glob(f"{other}-*"):
        if old.stem != same:
            old.unlink(missing_ok=True)


def _store(base: Path, found: Annotations) -> None:
    objects, images = found.objects, found.images
    rows = np.empty(len(objects), dtype=_ROW)
    for name in _ROW.names or ():
        rows[name] = getattr(objects, name)
    facts = _Facts(
        objects=len(objects),
        names=list(images.names),
        sizes=images.sizes.tolist(),
        ids=_texts(images.ids),
        class_names=list(found.class_names),
        category_ids=_texts(found.category_ids),
        outside=found.outside,
        misread=found.misread,
        remarks=list(found.remarks),
        placeholders=_texts(found.placeholders),
    )
    with contextlib.suppress(
        WriteError, OSError, UnicodeEncodeError
    ):  # decoding again takes seconds, and loses nothing
        _make_room(base.with_suffix(".npy"))
        with whole_file(base.with_suffix(".npy")) as made:
            np.save(made, rows)
        write_bytes(base.with_suffix(".json"), msgspec.json.encode(asdict(facts)))


def _load(base: Path) -> Annotations | None:
    """Return what is stored; None where nothing is, or something else."""
    try:
        facts = msgspec.json.decode(base.with_suffix(".json").read_bytes(), type=_Facts)
        rows = np.load(base.with_suffix(".npy"), mmap_mode="r")
    except (OSError, ValueError, EOFError, msgspec.MsgspecError):
        return None
    if rows.dtype != _ROW or rows.shape != (facts.objects,):
        return None
    objects = Objects(**{name: rows[name] for name in _ROW.names or ()})
    sizes = np.array(facts.sizes, dtype=np.int32).reshape(-1, 2)
    return Annotations(
        Images(tuple(facts.names), sizes, tuple(map(int, facts.ids))),
        objects,
        tuple(facts.class_names),
        tuple(map(int, facts.category_ids)),
        facts.outside,
        facts.misread,
        tuple(facts.remarks),
        frozenset(map(int, facts.placeholders)),
    )


def _texts(ids: object) -> list[str]:
    return [str(each) for each in ids]  # type: ignore[attr-defined]
