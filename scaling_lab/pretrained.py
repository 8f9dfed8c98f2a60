"""Files of pretrained backbones: one of a backbone, or a folder with a file for each, named as timm names the backbone."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from scaling_lab.checks import near
from scaling_lab.errors import UserError

ENDINGS = (".safetensors", ".pth", ".pt", ".bin")


def weights_of(path: Path, backbone: str) -> Path:
    """Return the file of a backbone's weights: `path` itself, or its file in the folder `path`. Raises UserError."""
    if not path.is_dir():
        return path
    files = _files(path)
    for each in files:
        if each.stem == backbone:
            return each
    stems = [each.stem for each in files]
    there = f"; it has {', '.join(stems)}" if stems else "; it is empty"
    raise UserError(f"{path} has no weights of backbone {backbone!r}{near(backbone, stems)}{there}")


def content_digest(path: Path) -> str:
    """Return 16 hexadecimal digits of a file's bytes, or of the names and bytes of a folder's weights. Raises UserError."""
    try:
        if not path.is_dir():
            return _digest(path)
        whole = "\n".join(f"{each.stem} {_digest(each)}" for each in _files(path))
    except OSError as error:
        raise UserError(
            f"recipe.pretrained is {str(path)!r}, which cannot be read: {error.strerror or error}"
        ) from None
    if not whole:
        raise UserError(
            f"the folder {path} has no weights; allowed are files named <backbone>{' or '.join(ENDINGS[:2])}"
        )
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def _files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.suffix in ENDINGS and each.is_file())


def _digest(path: Path) -> str:
    seen = path.stat()
    return _digest_of(path, seen.st_size, seen.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest_of(path: Path, size: int, changed: int) -> str:
    """Return the digest of a file's bytes, once for each state of the file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
