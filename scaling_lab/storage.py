"""An object store, or any other place that fsspec reaches, as a folder of files: s3://…, gs://…, a path.

Names are relative, with "/". An object appears whole or not at all. Every error is a StorageError with the address.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from scaling_lab.errors import UserError, first_line
from scaling_lab.files import whole_file

Found = TypeVar("Found")

# What a protocol needs beside fsspec.
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_ALLOWED = "allowed are s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, others that fsspec knows, and a path"


class StorageError(UserError):
    """The storage does not answer, or refuses."""


_UNFINISHED = ".unfinished"


@dataclass(frozen=True)
class Storage:
    """A folder at an address; a plain value, which workers get."""

    url: str

    def at(self, name: str) -> Storage:
        """Return a folder in this one."""
        return Storage(f"{self.url.rstrip('/')}/{name}")

    def read(self, name: str) -> bytes | None:
        """Return the content of an object, or None where there is none. Raises StorageError."""
        fs, root = self._place()

        def read() -> bytes | None:
            try:
                return bytes(fs.cat_file(f"{root}/{name}"))
            except FileNotFoundError:
                return None

        return self._told("read", name, read)

    def write(self, name: str, content: bytes) -> None:
        """Write an object. Raises StorageError."""
        self._write(name, lambda fs, path: fs.pipe_file(path, content))

    def put(self, source: Path, name: str) -> None:
        """Copy a file to the storage. Raises StorageError."""
        self._write(name, lambda fs, path: fs.put_file(str(source), path))

    def get(self, name: str, target: Path) -> None:
        """Copy an object to a file, which appears whole; its folder is made. Raises StorageError and WriteError."""
        fs, root = self._place()
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as made:
            self._told("read", name, lambda: fs.get_file(f"{root}/{name}", str(made)))

    def names(self) -> list[str]:
        """Return the names of all objects below, in alphabetical order. Raises StorageError."""
        fs, root = self._place()

        def find() -> list[str]:
            fs.invalidate_cache()  # other machines write, too
            whole = fs.find(root)
            return sorted(path[len(root) :].lstrip("/") for path in whole if not path.endswith(_UNFINISHED))

        return self._told("listed", "", find)

    def rename(self, name: str, new: str) -> None:
        """Move a folder of objects. Raises StorageError."""
        fs, root = self._place()

        def move(old: str, new: str) -> None:
            if _is_local(fs):
                fs.makedirs(new.rpartition("/")[0], exist_ok=True)
            fs.mv(old, new)

        for each in self.at(name).names():
            places = f"{root}/{name}/{each}", f"{root}/{new}/{each}"
            self._told("moved", name, partial(move, *places))

    def _write(self, name: str, write: Callable[[Any, str], None]) -> None:
        fs, root = self._place()
        path = f"{root}/{name}"

        def whole() -> None:
            if not _is_local(fs):  # an object appears at its end
                write(fs, path)
                return
            fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            write(fs, f"{path}{_UNFINISHED}")
            Path(f"{path}{_UNFINISHED}").replace(path)

        self._told("written", name, whole)

    def _place(self) -> tuple[Any, str]:
        """Return the file system and the path in it. Raises StorageError where there is none for the address."""
        import fsspec

        try:
            fs, root = fsspec.url_to_fs(self.url)
        except ImportError:
            package = _PACKAGES.get(self.url.partition(":")[0])
            advice = f"pip install {package}" if package else "install the package of its protocol"
            raise StorageError(f"the storage {self.url} needs another package: {advice}") from None
        except ValueError as error:
            raise StorageError(f"the storage {self.url} cannot be used: {first_line(error)}; {_ALLOWED}") from None
        except Exception as error:  # of credentials and addresses, of any type
            raise StorageError(f"the storage {self.url} cannot be used: {_reason(error)}") from None
        return fs, str(root).rstrip("/")

    def _told(self, done: str, name: str, work: Callable[[], Found]) -> Found:
        try:
            return work()
        except Exception as error:  # clients raise errors of many types
            where = self.at(name).url if name else self.url
            raise StorageError(f"{where} cannot be {done}: {_reason(error)}") from error


def _is_local(fs: Any) -> bool:
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or first_line(error)
